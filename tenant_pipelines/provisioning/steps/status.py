"""Step 1: the tenant is being provisioned. Its undo ends the rollback and is done by the engine itself."""

from tenant_pipelines.domain.retries import Group
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=1,
    name="updating_status",
    activity="updateTenantStatus",
    undo_activity="updateTenantStatus",
    percent=5,
    retries=Group.DATABASE,
    symptom="Failed to update tenant status",
)


@step.do
def confirm() -> Done:
    """The status was set with the execution's own row; joining the execution has confirmed it."""
    return Done()
