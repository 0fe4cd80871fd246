"""An effect that lands after the undo has looked: whatever carries the mark is looked up once more."""

import pytest

from tests.scenarios.matrix import DEPLOYMENT, WITH_EFFECT, Target, assert_rolled_back, break_at
from tests.world.world import World

LATE = [target for target in WITH_EFFECT if target is not DEPLOYMENT]
"""What is written into a namespace cannot land after the undo has looked: the namespace is gone."""


@pytest.mark.parametrize("target", LATE, ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "late_effect")

    execution = world.run()

    assert world.came_late, "the effect never landed, so this has shown nothing"
    assert_rolled_back(world, execution, step=target.step, says=target.says)


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.break_records("late_effect")

    execution = world.run()

    assert world.came_late
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
