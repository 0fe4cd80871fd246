"""No wait holds a worker: every one of them parks, on the real parts, and the workflows come to the same ends."""

from collections import Counter

import pytest

from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Kind, State
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.company import TESTER
from tests.fakes.runs import Killed
from tests.scenarios.matrix import assert_rolled_back
from tests.scenarios.test_crashes import UNDONE
from tests.scenarios.test_healing import ON_KUBERNETES, ONE_OF_EACH, arm
from tests.scenarios.test_past_pivot import mails
from tests.world.steps import do_with, once, put, raising, undo_with
from tests.world.world import World

KILL = raising(Killed)
TERRAFORM = "provisioning_infrastructure"
START = "POST /api/v2/runs"


@pytest.fixture
def world(world: World) -> World:
    """One in which nobody waits in a worker."""
    world.wait_in_worker = 0.0
    return world


def parked_steps(world: World) -> set[str]:
    """Where the newest execution has parked, so far."""
    return {event["step"] for event in history(world) if event["type"] == "TimerStarted"}


def history(world: World) -> list[dict[str, str]]:
    return world.desk.ledger.history(world.newest.id)


@pytest.mark.parametrize(
    ("plan", "target", "waits"),
    [("enterprise", "kubernetes", {TERRAFORM, "deploying_application"}), ("free", "docker", {"deploying_application"})],
)
def test_a_tenant_is_provisioned_though_every_wait_parks(world: World, plan: str, target: str, waits: set[str]) -> None:
    world.plan = plan
    world.deploy_to(target)

    execution = world.run()

    assert execution.waiting_until is not None, execution.error
    assert parked_steps(world) == waits
    assert world.the_tenant.status is Status.ACTIVE
    assert {launch.parked for launch in world.runs.launched} == {None, *waits}
    kinds = Counter(str(thing) for thing in world.things)
    expected = [kind for kind in ONE_OF_EACH if kinds[kind] or plan == "enterprise"]
    assert {kind: kinds[kind] for kind in expected} == dict.fromkeys(expected, 1)
    assert world.confirm().state is State.COMPLETED


def test_every_backoff_parks_and_everything_is_there_once(world: World) -> None:
    arm(world, ON_KUBERNETES, "refuse")

    execution = world.run()

    assert execution.waiting_until is not None, execution.error
    assert parked_steps(world) >= {target.step for target in ON_KUBERNETES}
    kinds = Counter(str(thing) for thing in world.things)
    assert {kind: kinds[kind] for kind in ONE_OF_EACH} == dict.fromkeys(ONE_OF_EACH, 1)
    assert mails(world) == 1


def test_a_rollback_whose_every_wait_parks_leaves_nothing(world: World) -> None:
    world.fail_at_once("creating_resources")
    world.when("creating_resources", after=raising(lambda: RuntimeError("ours")))

    execution = world.run()

    undos = {launch.parked for launch in world.runs.launched if launch.kind is Kind.ROLLBACK}
    assert undos >= {TERRAFORM, "deploying_application"}
    assert_rolled_back(world, execution, step="creating_resources", says="unexpected RuntimeError")


def test_workers_that_die_around_their_waits_make_everything_once(world: World) -> None:
    world.catalogue = put(
        world.catalogue, *(do_with(step, before=once(KILL), after=once(KILL)) for step in PROVISIONING.steps)
    )

    execution = world.run()

    assert execution.waiting_until is not None, execution.error
    kinds = Counter(str(thing) for thing in world.things)
    assert {kind: kinds[kind] for kind in ONE_OF_EACH} == dict.fromkeys(ONE_OF_EACH, 1)
    assert world.refused == []


def test_workers_that_die_around_the_waits_of_a_rollback_leave_nothing(world: World) -> None:
    world.fail_at_once("creating_resources")
    world.when("creating_resources", after=raising(lambda: RuntimeError("ours")))
    undo = (undo_with(world.catalogue.step(s.name), before=once(KILL), after=once(KILL)) for s in UNDONE)
    world.catalogue = put(world.catalogue, *undo)

    execution = world.run()

    assert_rolled_back(world, execution, step="creating_resources", says="unexpected RuntimeError")


def parked_at_a_run_that_waits(world: World) -> None:
    """Terraform Cloud keeps the tenant's run waiting for ten minutes; nobody waits with it."""
    slow = {"operation": START, "mode": "slow", "times": 1, "tenant": world.key}
    world.when(TERRAFORM, before=once(lambda: world.systems.break_("terraform", **slow)))  # type: ignore[arg-type]
    start(world.desk, world.create(world.key, plan=world.plan).id, TESTER)
    until = world.desk.clock.monotonic() + 20
    while "pending" not in world.newest.message:  # the upload of its configuration is waited for before that
        assert world.desk.clock.monotonic() < until, world.newest
        world.wake()
        world.desk.clock.sleep(0.05)


def test_a_run_that_only_waits_outside_costs_no_further_run_here(world: World) -> None:
    parked_at_a_run_that_waits(world)
    launched = len(world.runs.launched)
    wake_at = world.newest.wake_at
    until = world.desk.clock.monotonic() + 10

    while world.newest.wake_at == wake_at:  # until a look has put it off
        assert world.desk.clock.monotonic() < until
        world.wake()
        world.desk.clock.sleep(0.02)

    assert world.newest.parked_step == TERRAFORM
    assert len(world.runs.launched) == launched
    cancel(world)


def test_a_cancel_withdraws_what_goes_on_outside_and_leaves_nothing(world: World) -> None:
    parked_at_a_run_that_waits(world)
    launched = [launch.kind for launch in world.runs.launched]

    cancel(world)

    assert world.newest.state is State.CANCELLED
    assert world.the_tenant.status is Status.PROVISION_CANCELLED
    assert world.things == set()
    assert world.runs.launched[len(launched)].kind is Kind.ROLLBACK


def cancel(world: World) -> None:
    signal(world.desk, world.the_tenant.id, "provisioningCancelled", {}, key="1", claimant=TESTER)
    world.settle(world.newest, seconds=60)


def test_an_outage_while_it_is_parked_uses_up_no_attempt_and_no_run(world: World) -> None:
    parked_at_a_run_that_waits(world)
    launched = len(world.runs.launched)
    world.systems.break_("terraform", "GET /api/v2/runs/*", "server_error", tenant=world.key)
    asked = world.systems.left_to_break("terraform")
    until = world.desk.clock.monotonic() + 10

    while world.systems.left_to_break("terraform") > asked - 3:
        assert world.desk.clock.monotonic() < until
        world.wake()
        world.desk.clock.sleep(0.02)

    assert len(world.runs.launched) == launched
    assert world.newest.parked_step == TERRAFORM
    world.systems.mend("terraform")
    cancel(world)
    assert world.things == set()
