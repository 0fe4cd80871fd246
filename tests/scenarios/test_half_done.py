"""Half of the effect, and then an error."""

import pytest

from tests.scenarios.matrix import ORGANIZATION, USER, WITH_EFFECT, Target, assert_rolled_back, break_at
from tests.world.steps import raising
from tests.world.world import World

HEALED = [ORGANIZATION, USER]
"""Keycloak's 500 on a create means that nobody knows: the adapter looks, and goes on with what it finds."""


@pytest.mark.parametrize("target", HEALED, ids=str)
def test_a_half_that_is_healed_at_once_is_undone_as_well(world: World, target: Target) -> None:
    break_at(world, target, "half_done")
    world.when(target.step, after=raising(lambda: RuntimeError("later")))

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says="unexpected RuntimeError")


@pytest.mark.parametrize("target", [target for target in WITH_EFFECT if target not in HEALED], ids=str)
def test_nothing_is_left(world: World, target: Target) -> None:
    break_at(world, target, "half_done")

    execution = world.run()

    assert world.systems.left_to_break(target.system) == 0
    assert_rolled_back(world, execution, step=target.step, says=target.says)


def test_nothing_is_left_of_the_resource_rows(world: World) -> None:
    world.deploy_to("docker")
    records = world.break_records("half_done")

    execution = world.run()

    assert records.broken == 1
    assert_rolled_back(world, execution, step="creating_resources", says="PostgreSQL")
