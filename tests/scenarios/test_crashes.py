"""The worker dies: at a step's begin, between its effect and its record, in every undo."""

import pytest

from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Kind, State
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.runs import Killed
from tests.scenarios.matrix import assert_rolled_back
from tests.scenarios.test_healing import ONE_OF_EACH
from tests.scenarios.test_past_pivot import mails
from tests.world.steps import do_with, once, put, raising, undo_with
from tests.world.world import World

KILL = raising(Killed)
UNDONE = [step for step in PROVISIONING.before_pivot if step.has_undo]


def test_a_run_that_dies_twice_at_every_step_makes_everything_once(world: World) -> None:
    """Once when the step has begun, once when its effect is there: as often as a step may lose its worker."""
    world.catalogue = put(
        world.catalogue, *(do_with(step, before=once(KILL), after=once(KILL)) for step in PROVISIONING.steps)
    )

    execution = world.run()

    assert execution.waiting_until is not None, execution.error
    assert len(world.runs.launched) == 1 + 2 * len(PROVISIONING.steps)
    assert {launch.kind for launch in world.runs.launched[1:]} == {Kind.CONTINUATION}
    assert execution.id == world.runs.launched[0].run_id
    assert world.the_tenant.status is Status.ACTIVE
    kinds = [str(thing) for thing in world.things]
    assert {kind: kinds.count(kind) for kind in ONE_OF_EACH} == dict.fromkeys(ONE_OF_EACH, 1)
    assert mails(world) == 1
    assert world.confirm().state is State.COMPLETED
    assert world.refused == []


@pytest.mark.parametrize("target", ["kubernetes", "docker"])
def test_a_rollback_that_dies_in_every_undo_leaves_nothing(world: World, target: str) -> None:
    world.deploy_to(target)
    world.fail_at_once("creating_resources")
    world.when("creating_resources", after=raising(lambda: RuntimeError("ours")))
    undo = (undo_with(world.catalogue.step(s.name), before=once(KILL), after=once(KILL)) for s in UNDONE)
    world.catalogue = put(world.catalogue, *undo)

    execution = world.run()

    assert [launch.kind for launch in world.runs.launched[1:]] == [Kind.ROLLBACK] * (1 + 2 * len(UNDONE))
    assert_rolled_back(world, execution, step="creating_resources", says="unexpected RuntimeError")


def test_a_process_that_dies_with_the_failure_is_rolled_back_by_the_guard(world: World) -> None:
    world.runs.hooks = False
    world.break_("provisioning_storage", "s3", "CreateBucket", "half_done")

    execution = world.run()

    assert_rolled_back(world, execution, step="provisioning_storage", says="S3")


@pytest.mark.parametrize("name", ["provisioning_storage", "creating_billing_customer"])
def test_a_step_that_loses_its_worker_three_times_fails(world: World, name: str) -> None:
    world.plan = "free"
    world.deploy_to("docker")
    world.when(name, after=KILL)

    execution = world.run()

    assert (execution.state, execution.error_code, execution.failed_step) == (State.FAILED, "WorkerLost", name)
    assert [marker for marker, _, _ in world.journal.lines].count(Marker.FAIL) == 1
    if name == "provisioning_storage":
        assert world.things == set()
        assert world.the_tenant.status is Status.PROVISION_FAILED
    else:
        world.resume()
        assert world.confirm().state is State.COMPLETED
        assert len(world.systems.things_of(world.key, "stripe")) == 2
