"""Fourteen activities that do nothing, one after the other."""

from datetime import timedelta

from temporalio import activity, workflow

STEPS = 14
QUEUE = "benchmark"


@activity.defn  # type: ignore[untyped-decorator]
async def step(number: int) -> int:
    """Nothing."""
    return number


@workflow.defn
class Provision:
    """The workflow."""

    @workflow.run  # type: ignore[untyped-decorator]
    async def run(self) -> int:
        """Take the steps; answers how many there were."""
        taken = 0
        for number in range(STEPS):
            await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(seconds=30))
            taken += 1
        return taken
