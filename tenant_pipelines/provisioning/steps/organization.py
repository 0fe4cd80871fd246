"""Step 2: the tenant's organization in the identity provider."""

from collections.abc import Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import IdentityProvider
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=2,
    name="creating_idp_organization",
    activity="createIdPOrganization",
    undo_activity="deleteIdPOrganization",
    percent=15,
    retries=Group.IDENTITY,
    symptom="Failed to create IdP organization",
    undo_symptom="Failed to delete IdP organization",
)


@step.do
def create(tenant: Tenant, identity: IdentityProvider, mark: Mark, call: Call) -> Done:
    """An organization under the tenant's key, with its domains."""
    organization = identity.ensure_organization(
        alias=tenant.key, name=tenant.name, domains=tenant.domains, mark=mark, call=call
    )
    return Done([organization], {"idpOrganizationId": organization.ref.id}, {"organization_id": organization.ref.id})


@step.undo
def remove(tenant: Tenant, identity: IdentityProvider, mark: Mark, call: Call) -> Sequence[Removal]:
    """The organization; its users are step 3's."""
    return [identity.remove_organization(alias=tenant.key, mark=mark, call=call)]


@step.find
def find(identity: IdentityProvider, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The organization, if it is there."""
    return [ref for ref in identity.find(mark=mark, call=call) if ref.kind == "organization"]


@step.traces
def traces(tenant: Tenant) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("keycloak", "organization", tenant.key, tenant.key)]
