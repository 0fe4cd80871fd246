"""A time-out after the effect: it is there, and nobody has said so."""

import pytest

from tests.scenarios.matrix import WITH_EFFECT, Target, assert_rolled_back, break_at
from tests.world.world import World

TIMED_OUT = "Connection timeout (ETIMEDOUT) 127.0.0.1:"


@pytest.mark.parametrize("target", WITH_EFFECT, ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "timeout_after")

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says=target.says)
    assert TIMED_OUT in (execution.error or "")


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.deploy_to("docker")
    records = world.break_records("timeout_after")

    execution = world.run()

    assert records.broken == 1
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
