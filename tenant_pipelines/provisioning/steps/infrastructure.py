"""Step 6: the silo tenant's own infrastructure, by a Terraform run in a workspace of its own."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import Created, ObjectRef, Pending, Removal
from tenant_pipelines.domain.ports import Infrastructure, Look
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=6,
    name="provisioning_infrastructure",
    activity="provisionInfrastructure",
    undo_activity="destroyInfrastructure",
    percent=45,
    retries=Group.INFRASTRUCTURE,
    symptom="Infrastructure provisioning failed",
    undo_symptom="Terraform destroy failed",
)


@step.plan
def names(tenant: Tenant, _: Rules) -> Mapping[str, str]:
    """The workspace's name."""
    return {"workspace": f"tenant-{tenant.key}"}


@step.do
def create(
    tenant: Tenant,
    placement: Mapping[str, str],
    facts: Mapping[str, str],
    token: Mapping[str, str] | None,
    infrastructure: Infrastructure,
    mark: Mark,
    call: Call,
) -> Done | Pending:
    """Workspace and variables, then one run, followed until it is applied."""
    workspace = placement["workspace"]
    if token is None:
        variables = {
            "tenant_id": str(tenant.id),
            "tenant_key": tenant.key,
            "tenant_tier": tenant.tier.value,
            "idp_organization_id": facts["organization_id"],
        }
        infrastructure.ensure_workspace(workspace=workspace, variables=variables, mark=mark, call=call)
    applied = infrastructure.apply(workspace=workspace, key=tenant.key, mark=mark, token=token, call=call)
    if isinstance(applied, Pending):
        return applied
    outputs = {f"terraform.{name}": value for name, value in applied.outputs.items()}
    resources = {f"terraform_resource.{address}": name for address, name in applied.resources.items()}
    return Done([Created(applied.ref, applied.outputs)], facts=outputs | resources)


@step.undo
def remove(
    tenant: Tenant,
    placement: Mapping[str, str],
    token: Mapping[str, str] | None,
    infrastructure: Infrastructure,
    mark: Mark,
    call: Call,
) -> Sequence[Removal] | Pending:
    """End the run that is under way, destroy, and remove the workspace."""
    return infrastructure.destroy(workspace=placement["workspace"], key=tenant.key, mark=mark, token=token, call=call)


@step.look
def look(placement: Mapping[str, str], token: Mapping[str, str], infrastructure: Infrastructure, call: Call) -> Look:
    """Whether its run still goes on."""
    return infrastructure.look(workspace=placement["workspace"], token=token, call=call)


@step.find
def find(placement: Mapping[str, str], infrastructure: Infrastructure, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The workspace and what its state holds."""
    return infrastructure.find(workspace=placement["workspace"], mark=mark, call=call)


@step.traces
def traces(placement: Mapping[str, str]) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("terraform", "workspace", placement["workspace"], placement["workspace"])]
