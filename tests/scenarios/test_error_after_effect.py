"""An error in the op after the effect, and before its record: a mistake of our own, for example."""

from operator import attrgetter

import pytest

from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.step import Step
from tests.scenarios.matrix import assert_rolled_back
from tests.world.steps import raising
from tests.world.world import World


class Mistake(Exception):
    """Ours."""


@pytest.mark.parametrize("step", PROVISIONING.before_pivot, ids=attrgetter("name"))
def test_nothing_is_left(world: World, step: Step) -> None:
    world.deploy_to("kubernetes" if step.name == "deploying_application" else "docker")  # which is quicker
    world.when(step.name, after=raising(lambda: Mistake("with words that nobody is to see")))

    execution = world.run()

    assert_rolled_back(world, execution, step=step.name, says="unexpected Mistake in happen, line")
    assert "nobody is to see" not in str(execution)


def test_nothing_is_left_of_a_container(world: World) -> None:
    world.deploy_to("docker")
    world.when("deploying_application", after=raising(Mistake))

    execution = world.run()

    assert_rolled_back(world, execution, step="deploying_application", says="unexpected Mistake")
