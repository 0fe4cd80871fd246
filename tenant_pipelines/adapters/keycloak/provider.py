"""The identity provider of the steps: each method is one call that has proven its rights before it looks."""

from collections.abc import Sequence

from tenant_pipelines.adapters.keycloak.organizations import Organizations
from tenant_pipelines.adapters.keycloak.settings import KeycloakRealm
from tenant_pipelines.adapters.keycloak.users import Users
from tenant_pipelines.adapters.keycloak.wire import Realm
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import Ensured, ObjectRef, Removal
from tenant_pipelines.domain.tenant import Contact


class Keycloak:
    """Organizations and users of the realm that all tenants share; one object serves every thread of a process."""

    def __init__(self, settings: KeycloakRealm) -> None:
        self._settings = settings
        self._realm = Realm(settings)
        self._marks_hold = False

    def ensure_organization(self, *, alias: str, name: str, domains: Sequence[str], mark: Mark, call: Call) -> Ensured:
        """Create the organization, or adopt and correct the one that carries the mark.

        Raises: ResourceAlreadyExists: the alias, the name or a domain is an organization's that is not ours.
            InvalidConfiguration: no such realm, or organizations are switched off in it.
        """
        with self._realm.during(call) as admin:
            return Organizations(admin, self._settings).ensure(alias, name, domains, mark)

    def remove_organization(self, *, alias: str, mark: Mark, call: Call) -> Removal:
        """Remove the organization when it carries the mark; the accounts of its members stay."""
        with self._realm.during(call) as admin:
            return Organizations(admin, self._settings).remove(alias, mark)

    def ensure_admin_user(self, *, contact: Contact, organization_id: str, mark: Mark, call: Call) -> Ensured:
        """The user, its membership, its role where the realm has one, and its invitation.

        Raises: ResourceAlreadyExists: the e-mail address is a user's that is not ours. ResourceNotFound: there is no
            such organization. InvalidConfiguration: the realm does not keep the mark of users. Outage also when
            only the mail could not be sent (HTTP 500 without SMTP): the user is there then, and is adopted later.
        """
        with self._realm.during(call) as admin:
            users = Users(admin, self._settings)
            self._prove(users)
            return users.ensure_admin(contact, organization_id, mark)

    def remove_admin_user(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        """Remove every user that carries the mark; empty when there is none."""
        with self._realm.during(call) as admin:
            users = Users(admin, self._settings)
            self._prove(users)
            return users.remove(mark)

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The organizations and users that carry the mark."""
        with self._realm.during(call) as admin:
            organizations, users = Organizations(admin, self._settings), Users(admin, self._settings)
            self._prove(users)
            return [
                *(organizations.ref(one) for one in organizations.marked(mark)),
                *(users.ref(one) for one in users.marked(mark)),
            ]

    def _prove(self, users: Users) -> None:
        """Once per process is enough: the realm's user profile is set up by hand and hardly ever."""
        if not self._marks_hold:
            users.prove_that_marks_hold()
            self._marks_hold = True
