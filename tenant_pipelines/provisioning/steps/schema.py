"""Step 4: the tenant's schema and the role that can use nothing else."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import SchemaStore
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=4,
    name="provisioning_database",
    activity="provisionTenantSchema",
    undo_activity="deprovisionTenantSchema",
    percent=25,
    retries=Group.DATABASE,
    symptom="Failed to provision tenant schema",
    undo_symptom="Failed to remove tenant schema",
)


@step.plan
def names(tenant: Tenant, _: Rules) -> Mapping[str, str]:
    """The schema's name; its role is called the same."""
    return {"schema": f"tenant_{tenant.key}"}


@step.do
def create(tenant: Tenant, placement: Mapping[str, str], schemas: SchemaStore, mark: Mark, call: Call) -> Done:
    """Schema first, since the role's rights are given on it."""
    schema = schemas.ensure_schema(key=tenant.key, schema=placement["schema"], mark=mark, call=call)
    role = schemas.ensure_role(schema=placement["schema"], mark=mark, call=call)
    return Done([schema, role], {"schemaName": placement["schema"]})


@step.undo
def remove(placement: Mapping[str, str], schemas: SchemaStore, mark: Mark, call: Call) -> Sequence[Removal]:
    """The role first, with its sessions: their locks would hold up the end of the schema."""
    role = schemas.remove_role(schema=placement["schema"], mark=mark, call=call)
    return [role, schemas.remove_schema(schema=placement["schema"], mark=mark, call=call)]


@step.find
def find(schemas: SchemaStore, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The schema and the role, where they are there."""
    return schemas.find(mark=mark, call=call)


@step.traces
def traces(placement: Mapping[str, str]) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("postgres", kind, placement["schema"], placement["schema"]) for kind in ("schema", "role")]
