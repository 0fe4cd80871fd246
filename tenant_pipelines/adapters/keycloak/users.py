"""Users: the tenant's administrator with its membership, role and invitation.

A user is made with the mark in one request, so there is no half of it that could not be recognised. Membership and
role are added after that and are harmless to add again.

The invitation is sent at least once. That it has been sent is kept in the user's attribute `invitedAt`, so a step
that is repeated sends none; only a run that dies, or loses Keycloak's answer, between the mail and that attribute sends
a second one. The other way round a tenant could be left without any way in, and nobody would see it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keycloak import KeycloakAdmin

from tenant_pipelines.adapters.keycloak.organizations import Attributes, attributes, carries, query
from tenant_pipelines.adapters.keycloak.refusal import Refusal
from tenant_pipelines.adapters.keycloak.settings import SYSTEM, KeycloakRealm
from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    Outage,
    ResourceAlreadyExists,
    ResourceNotFound,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, Ensured, ObjectRef, Removal, Removed
from tenant_pipelines.domain.tenant import Contact

INVITED_AT = "invitedAt"
"""User attribute: when the invitation was sent (ISO 8601, UTC)."""

KEPT = (*Mark("", "").labels(), INVITED_AT)
"""The user attributes that nobody but administrators may write."""

ACTIONS = ["UPDATE_PASSWORD", "VERIFY_EMAIL"]
"""What a new administrator has to do before the first login."""

_CHANGEABLE = ("username", "email", "firstName", "lastName", "emailVerified", "enabled", "requiredActions")


@dataclass(frozen=True, slots=True)
class User:
    """A user as Keycloak describes it."""

    id: str
    username: str
    email: str | None
    attributes: Attributes

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "User":
        """Raises: LookupError or TypeError when it is no user."""
        return cls(raw["id"], raw["username"], raw.get("email"), raw.get("attributes", {}))


class Users:
    """The users of one realm, through the client of one call."""

    def __init__(self, admin: KeycloakAdmin, settings: KeycloakRealm) -> None:
        self._admin = admin
        self._settings = settings

    def prove_that_marks_hold(self) -> None:
        """Whether the realm keeps a user's attributes, shows them, and keeps them out of the user's own hands.

        Unless the user profile says so Keycloak drops unknown attributes without a word: our users would carry no
        mark, and an undo would find none of them.

        Raises: InvalidConfiguration.
        """
        profile = self._admin.get_realm_users_profile()
        editors = {one["name"]: set(one.get("permissions", {}).get("edit", ())) for one in profile["attributes"]}
        others = {"admin"} if profile.get("unmanagedAttributePolicy") == "ADMIN_EDIT" else set[str]()
        loose = [name for name in KEPT if editors.get(name, others) != {"admin"}]
        if loose:
            what = f"does not keep the user attributes {', '.join(loose)} for administrators alone"
            where = f"Keycloak console, realm {self._settings.realm}, Realm settings, General"
            raise InvalidConfiguration(
                SYSTEM, what, way_out=f"{where}: set Unmanaged attributes to Only administrators"
            )

    def marked(self, mark: Mark) -> list[User]:
        """Those that carry the mark."""
        found = self._admin.get_users({"briefRepresentation": "false", "q": query(mark)})
        return [user for user in map(User.read, found) if carries(user.attributes, mark)]

    def ensure_admin(self, contact: Contact, organization_id: str, mark: Mark) -> Ensured:
        """The administrator of that organization; every part of it that is there already stays as it is."""
        self._expect_organization(organization_id, mark)
        mine = self._mine(contact, mark)
        key, answer = (mine.id, Adopted) if mine else self._create(contact, mark)
        self._join(key, organization_id)
        facts = {"email": contact.email.lower(), **self._give_role(key), **self._invite(key)}
        return answer(self._ref(key, contact.email.lower()), facts)

    def remove(self, mark: Mark) -> list[Removal]:
        """Remove all that carry the mark."""
        return [self._remove(user) for user in self.marked(mark)]

    def ref(self, user: User) -> ObjectRef:
        """How it is spoken of outside."""
        return self._ref(user.id, user.username)

    def _ref(self, key: str, name: str) -> ObjectRef:
        return ObjectRef("keycloak", "user", name, key, self._settings.console("users", key))

    def _mine(self, contact: Contact, mark: Mark) -> User | None:
        email = contact.email.lower()
        return next((user for user in self.marked(mark) if (user.email or "").lower() == email), None)

    def _expect_organization(self, organization_id: str, mark: Mark) -> None:
        try:
            found = self._admin.get_organization(organization_id)
        except Refusal as refusal:
            raise self._lost(refusal, organization_id) from refusal
        if not carries(found.get("attributes", {}), mark):
            raise ResourceNotFound(SYSTEM, f"has the organization {organization_id}, but it is not this tenant's")

    def _create(self, contact: Contact, mark: Mark) -> tuple[str, type[Adopted | Created]]:
        body = {
            "username": contact.email,
            "email": contact.email,
            "firstName": contact.first_name,
            "lastName": contact.last_name,
            "enabled": True,
            "emailVerified": False,
            "requiredActions": ACTIONS,
            "attributes": attributes(mark),
        }
        try:
            return self._admin.create_user(body), Created
        except Refusal as refusal:
            # 409: what an earlier attempt of ours sent may have arrived since we looked. 5xx: nobody knows.
            with refusal.looked_into():
                mine = self._mine(contact, mark) if refusal.status == 409 or refusal.unknown else None
            if mine is not None:
                return mine.id, Adopted if refusal.status == 409 else Created
            if refusal.status == 409:
                what = f"user {contact.email} exists already and is not this tenant's"
                raise ResourceAlreadyExists(
                    SYSTEM, what, way_out="give the tenant another primary contact"
                ) from refusal
            raise refusal.failure(f"the user {contact.email}") from refusal

    def _join(self, key: str, organization_id: str) -> None:
        try:
            self._admin.organization_user_add(key, organization_id)
        except Refusal as refusal:
            if refusal.status != 409:  # 409: is a member already
                raise self._lost(refusal, organization_id) from refusal

    def _give_role(self, key: str) -> dict[str, str]:
        """Looks among the roles the user does not have yet: that needs no further right, unlike a role by name."""
        role = self._settings.admin_role
        found = [one for one in self._admin.get_available_realm_roles_of_user(key) if one["name"] == role]
        if not found:
            return {}
        self._admin.assign_realm_roles(key, found)
        return {"role": role}

    def _invite(self, key: str) -> dict[str, str]:
        if sent := self._admin.get_user(key).get("attributes", {}).get(INVITED_AT):
            return {"invitation": f"sent at {sent[0]}"}
        try:
            self._admin.send_update_account(key, ACTIONS, lifespan=self._settings.invitation_seconds)
        except Refusal as refusal:
            raise self._no_mail(refusal) from refusal
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._remember(key, INVITED_AT, now)
        return {"invitation": f"sent at {now}"}

    def _remember(self, key: str, name: str, value: str) -> None:
        """Add an attribute. Keycloak takes a PUT with attributes for the whole profile, so all of it goes back."""
        found = self._admin.get_user(key)
        body = {field: found[field] for field in _CHANGEABLE if field in found}
        self._admin.update_user(key, {**body, "attributes": {**found.get("attributes", {}), name: [value]}})

    def _remove(self, user: User) -> Removal:
        try:
            self._admin.delete_user(user.id)
        except Refusal as refusal:
            with refusal.looked_into():
                # 400: somebody else is removing the user at the same moment.
                done = refusal.status == 404 or ((refusal.unknown or refusal.status == 400) and self._is_gone(user.id))
            if not done and refusal.status == 400:
                raise Answered(SYSTEM, f"could not remove the user {user.username} (HTTP 400)") from refusal
            if not done:
                raise refusal.failure(f"the user {user.username}") from refusal
        return Removed(self.ref(user))

    def _is_gone(self, key: str) -> bool:
        try:
            self._admin.get_user(key)
        except Refusal as refusal:
            if refusal.status == 404:
                return True
            raise
        return False

    def _lost(self, refusal: Refusal, organization_id: str) -> Failure:
        if refusal.status == 404:
            return ResourceNotFound(SYSTEM, f"has no organization {organization_id}")
        return refusal.failure(f"the organization {organization_id}")

    def _no_mail(self, refusal: Refusal) -> Failure:
        """The user is there, only the invitation is not out: worth trying again until the step's time is over."""
        if refusal.status < 500:
            return refusal.failure("the invitation mail")
        what = f"could not send the invitation mail (HTTP {refusal.status})"
        where = f"Keycloak console, realm {self._settings.realm}, Realm settings, Email: Test connection"
        return Outage(SYSTEM, what, way_out=where, retry_after=refusal.retry_after)
