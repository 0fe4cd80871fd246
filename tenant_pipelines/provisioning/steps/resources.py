"""Step 9: one row for each thing the tenant has, as the rest of the company sees it."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import Records, ResourceRow
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=9,
    name="creating_resources",
    activity="createResources",
    undo_activity="deleteResources",
    percent=80,
    retries=Group.DATABASE,
    symptom="Failed to create resource records",
    undo_symptom="Failed to delete resource records",
)

TERRAFORM_OUTPUTS = {
    "vpc_id": "vpc",
    "database_endpoint": "database_server",
    "load_balancer_dns": "load_balancer",
}
"""From the configuration's outputs to the type of the resource row."""


@step.do
def create(
    tenant: Tenant, placement: Mapping[str, str], facts: Mapping[str, str], records: Records, mark: Mark, call: Call
) -> Done:
    """What the steps before have made, and where."""
    return Done(records.ensure_resources(rows=_rows(tenant, placement, facts), mark=mark, call=call))


def _rows(tenant: Tenant, placement: Mapping[str, str], facts: Mapping[str, str]) -> list[ResourceRow]:
    rows = [
        ResourceRow("organization", facts["organization_id"], {"alias": tenant.key}),
        ResourceRow("schema", placement["schema"], {}),
        ResourceRow("bucket", placement["bucket"], {}),
        ResourceRow("deployment", placement["deployment"], {"target": placement["deployment_target"]}),
    ]
    for output, kind in TERRAFORM_OUTPUTS.items():
        value = facts.get(f"terraform.{output}")
        if value:
            rows.append(ResourceRow(kind, value, {"workspace": placement["workspace"]}))
    return rows


@step.undo
def remove(records: Records, mark: Mark, call: Call) -> Sequence[Removal]:
    """Every row of the tenant."""
    return records.remove_resources(mark=mark, call=call)


@step.find
def find(records: Records, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The rows that are there."""
    return records.find(mark=mark, call=call)


@step.traces
def traces(tenant: Tenant) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("postgres", "row", f"tenant_management.resources of {tenant.key}", str(tenant.id))]
