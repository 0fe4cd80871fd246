"""Step 3: the tenant's administrator, with an invitation instead of a password in a mail."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import IdentityProvider
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=3,
    name="creating_admin_user",
    activity="createKeycloakUser",
    undo_activity="deleteKeycloakUser",
    percent=20,
    retries=Group.IDENTITY,
    symptom="Failed to create Keycloak user",
    undo_symptom="Failed to delete Keycloak user",
)


@step.do
def create(tenant: Tenant, facts: Mapping[str, str], identity: IdentityProvider, mark: Mark, call: Call) -> Done:
    """The primary contact becomes the administrator of the organization."""
    if tenant.admin is None:
        raise Validation("Tenant", f"{tenant.key} has no contact who could administer it")
    user = identity.ensure_admin_user(
        contact=tenant.admin, organization_id=facts["organization_id"], mark=mark, call=call
    )
    return Done([user], facts={"admin_user_id": user.ref.id})


@step.undo
def remove(identity: IdentityProvider, mark: Mark, call: Call) -> Sequence[Removal]:
    """Every user with the tenant's mark."""
    return identity.remove_admin_user(mark=mark, call=call)


@step.find
def find(identity: IdentityProvider, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The users that are there."""
    return [ref for ref in identity.find(mark=mark, call=call) if ref.kind == "user"]


@step.traces
def traces(tenant: Tenant) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("keycloak", "user", tenant.admin.email, tenant.admin.email)] if tenant.admin else []
