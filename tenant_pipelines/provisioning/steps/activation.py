"""Step 10, the point of no return: the ledger sets ACTIVE and closes this step in one transaction."""

from tenant_pipelines.domain.clock import Clock
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=10,
    name="activating_tenant",
    activity="activateTenant",
    percent=90,
    retries=Group.DATABASE,
    symptom="Failed to activate tenant",
)


@step.do
def activate(clock: Clock) -> Done:
    """Nothing outside: what makes the tenant ACTIVE is the record of this step."""
    return Done(metadata={"provisionedAt": clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")})
