"""An effect that lands after the undo has looked: whatever carries the mark is looked up once more."""

import threading

import pytest

from tests.scenarios.matrix import APPLY, DEPLOYMENT, USER, WITH_EFFECT, Target, assert_rolled_back, break_at
from tests.world.steps import once
from tests.world.systems import until
from tests.world.world import TOO_LATE, World

WITHOUT_EFFECT = [APPLY, DEPLOYMENT]
"""These find nothing to land on when the undo has looked: the run is discarded, the namespace gone."""

LATE = [target for target in WITH_EFFECT if target not in WITHOUT_EFFECT]


@pytest.mark.parametrize("target", LATE, ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "late_effect")

    execution = world.run()

    assert world.came_late, "the effect never landed, so this has shown nothing"
    assert_rolled_back(world, execution, step=target.step, says=target.says)


@pytest.mark.parametrize("target", WITHOUT_EFFECT, ids=str)
def test_nothing_is_left_of_what_comes_too_late(world: World, target: Target) -> None:
    break_at(world, target, "late_effect")
    world.sweep_after = TOO_LATE

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says=target.says)


def test_a_rollback_that_takes_longer_than_late_effects_looks_again_all_the_same(world: World) -> None:
    break_at(world, USER, "late_effect")
    world.sweep_after = TOO_LATE
    seen = threading.Event()

    def take_long() -> None:
        """The undo of the user has looked: this one goes on until nothing more can come late."""
        until(lambda: len(world.systems.things_of(world.key, "keycloak")) > 1, "the user appears", seconds=10)
        until(lambda: world.sweep_is_over, "the time for late effects ends", seconds=10)
        seen.set()

    world.before_undo("creating_idp_organization", once(take_long))

    execution = world.run()

    assert seen.is_set()
    assert_rolled_back(world, execution, step=USER.step, says="Keycloak")


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.deploy_to("docker")
    world.break_records("late_effect")

    execution = world.run()

    assert world.came_late
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
