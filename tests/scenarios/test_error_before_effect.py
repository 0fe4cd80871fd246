"""An error before the effect: the system is not able to answer, and has done nothing."""

import pytest

from tests.scenarios.matrix import BEFORE_EFFECT, Target, assert_rolled_back, break_at
from tests.world.world import World


@pytest.mark.parametrize("target", BEFORE_EFFECT, ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "server_error")

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says=target.says)


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.deploy_to("docker")
    records = world.break_records("server_error")

    execution = world.run()

    assert records.broken == 1
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
