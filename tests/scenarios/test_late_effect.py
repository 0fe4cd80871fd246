"""An effect that lands after the undo has looked: whatever carries the mark is looked up once more."""

import pytest

from tests.scenarios.matrix import APPLY, DEPLOYMENT, WITH_EFFECT, Target, assert_rolled_back, break_at
from tests.world.world import World

TOO_LATE = [APPLY, DEPLOYMENT]
"""These find nothing to land on when the undo has looked: the run is discarded, the namespace gone."""

LATE = [target for target in WITH_EFFECT if target not in TOO_LATE]


@pytest.mark.parametrize("target", LATE, ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "late_effect")

    execution = world.run()

    assert world.came_late, "the effect never landed, so this has shown nothing"
    assert_rolled_back(world, execution, step=target.step, says=target.says)


@pytest.mark.parametrize("target", TOO_LATE, ids=str)
def test_nothing_is_left_of_what_comes_too_late(world: World, target: Target) -> None:
    break_at(world, target, "late_effect")

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says=target.says)


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.break_records("late_effect")

    execution = world.run()

    assert world.came_late
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
