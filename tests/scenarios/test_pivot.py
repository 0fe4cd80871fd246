"""Around the point of no return: what comes before it is undone, what comes after it stands."""

import pytest

from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.tenant import Status
from tests.scenarios.matrix import assert_rolled_back
from tests.world.steps import Happening, once, raising
from tests.world.world import World

LOST = raising(lambda: Outage.timed_out("PostgreSQL", "127.0.0.1", 5432))


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("name", ["updating_status", "activating_tenant"])
def test_an_error_before_the_commit_undoes_everything(world: World, name: str, side: str) -> None:
    world.fail_at_once(name)
    happening: dict[str, Happening] = {side: LOST}
    world.when(name, **happening)

    execution = world.run()

    assert_rolled_back(world, execution, step=name, says="PostgreSQL did not answer in time")


@pytest.mark.parametrize("mode", ["refuse", "half_done", "server_error"])
@pytest.mark.parametrize("name", ["updating_status", "creating_resources", "activating_tenant"])
def test_a_commit_without_an_answer_is_looked_up_and_the_workflow_goes_on(world: World, name: str, mode: str) -> None:
    world.plan = "free"
    world.when(name, after=once(lambda: world.systems.break_("postgres", "COMMIT", mode, times=1)))

    execution = world.run()

    assert world.systems.left_to_break("postgres") == 0
    assert execution.waiting_until is not None
    assert world.the_tenant.status is Status.ACTIVE
    events = [event["type"] for event in world.desk.ledger.history(execution.id) if event["step"] == name]
    assert events == ["ActivityTaskStarted", "ActivityTaskCompleted"]
