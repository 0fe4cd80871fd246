"""Steps 11 to 14: the tenant is ACTIVE and stays so; what could not be done is owed, and done once in the end."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from sandbox import serving
from sandbox.standin import LATE_AFTER_A_LOOK
from tenant_pipelines.adapters.novu import subscriber_id
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.rest.app import application
from tests.scenarios.matrix import Target
from tests.world.steps import raising
from tests.world.systems import until
from tests.world.world import World

pytestmark = pytest.mark.usefixtures("quick")

CUSTOMER = Target("creating_billing_customer", "stripe", "POST /v1/customers", "Stripe")
SUBSCRIPTION = Target("creating_subscription", "stripe", "POST /v1/subscriptions", "Stripe")
MAIL = Target("sending_notifications", "novu", "POST /v1/events/trigger", "Novu")
WEBHOOK = Target("provisioning_app_plane", "app_plane", "POST /webhooks/tenant-provisioned", "App plane")
MODES = ["server_error", "timeout_after", "half_done", "late_effect"]
CONFIRMATION = "provisioning_app_plane"


@pytest.fixture
def quick(world: World) -> None:
    """What has gone before does not matter here."""
    world.plan = "free"
    world.deploy_to("docker")


def outside(world: World) -> Counter[str]:
    """How many of each kind there are at the systems that steps 11 to 14 call."""
    return Counter(str(thing) for thing in world.systems.things_of(world.key, "stripe", "novu", "app_plane"))


def mails(world: World) -> int:
    """How many mails went out to the tenant's administrator."""
    subscriber = subscriber_id(world.the_tenant.mark, f"admin@{world.key}.example")
    headers = {"Authorization": f"ApiKey {world.systems.made.novu_key}"}
    url = f"{world.systems.ports.url('novu')}/v1/messages"
    found = world.systems.http.get(url, headers=headers, params={"subscriberId": subscriber}).raise_for_status()
    count: int = found.json()["totalCount"]
    return count


def assert_one_of_each(world: World, mode: str = "") -> None:
    """Nothing is there twice; where an effect comes late, not even when it has come."""
    deadline = time.monotonic() + (LANDED if mode == "late_effect" else 0)
    while True:
        assert (outside(world), mails(world)) == (ONE_OF_EACH, 1)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


LANDED = LATE_AFTER_A_LOOK + 0.5
"""Seconds after which an effect that comes late has come: whoever resumes has looked."""

ONE_OF_EACH = Counter(
    {"stripe customer": 1, "stripe subscription": 1, "novu subscriber": 1, "app_plane organization": 1}
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", [CUSTOMER, SUBSCRIPTION, WEBHOOK], ids=str)
def test_a_failed_step_is_owed_and_done_once_by_who_resumes(world: World, target: Target, mode: str) -> None:
    world.break_(target.step, target.system, target.operation, mode)

    failed = world.run()

    tenant = world.the_tenant
    assert failed.state is State.FAILED
    assert failed.failed_step == target.step
    assert (failed.error or "").startswith(world.catalogue.step(target.step).symptom)
    assert target.says in (failed.error or "")
    assert tenant.status is Status.ACTIVE
    assert tenant.metadata["failedAt"] == target.step
    assert world.desk.ledger.owed(tenant.id) == [target.step]
    assert [marker for marker, _, _ in world.journal.lines].count(Marker.FAIL) == 1

    resumed = world.resume()

    assert resumed.waiting_until is not None
    assert world.confirm().state is State.COMPLETED
    assert_one_of_each(world, mode)
    assert (resumed.workflow_id, resumed.input) == (failed.workflow_id, failed.input)
    assert (resumed.id == failed.id, resumed.generation) == (False, failed.generation + 1)
    assert world.desk.ledger.owed(tenant.id) == []
    assert not {"provisioningError", "failedAt"} & set(world.the_tenant.metadata)
    assert world.refused == []


@pytest.mark.parametrize("mode", MODES)
def test_a_mail_that_could_not_be_sent_fails_nothing(world: World, mode: str) -> None:
    world.break_(MAIL.step, MAIL.system, MAIL.operation, mode)

    waiting = world.run()

    assert waiting.waiting_until is not None
    assert waiting.failed_step is None
    assert set(world.desk.ledger.owed(world.the_tenant.id)) == {MAIL.step, CONFIRMATION}
    assert world.confirm().state is State.COMPLETED
    assert world.desk.ledger.owed(world.the_tenant.id) == [MAIL.step]
    assert world.the_tenant.status is Status.ACTIVE


@pytest.mark.parametrize("mode", MODES)
def test_an_owed_mail_is_sent_once_by_who_resumes(world: World, mode: str) -> None:
    world.break_(MAIL.step, MAIL.system, MAIL.operation, mode)
    world.when(WEBHOOK.step, before=raising(lambda: RuntimeError("so that there is something to resume")))
    assert world.run().failed_step == WEBHOOK.step

    world.resume()

    assert_one_of_each(world, mode)
    assert world.confirm().state is State.COMPLETED
    assert world.desk.ledger.owed(world.the_tenant.id) == []


@pytest.mark.parametrize("target", [CUSTOMER, SUBSCRIPTION, MAIL, WEBHOOK], ids=str)
def test_an_error_after_the_effect_and_before_its_record_doubles_nothing(world: World, target: Target) -> None:
    world.fail_at_once(target.step)
    world.when(target.step, after=raising(lambda: RuntimeError("ours")))
    if target is MAIL:
        world.when(WEBHOOK.step, before=raising(lambda: RuntimeError("so that there is something to resume")))
    assert world.run().state is State.FAILED
    assert world.the_tenant.status is Status.ACTIVE

    world.resume()

    assert world.confirm().state is State.COMPLETED
    assert_one_of_each(world)


@pytest.fixture
def door(world: World) -> Iterator[None]:
    """Our own door, at which the app plane confirms by itself."""
    app = application(world.desk, app_plane_secret=world.systems.made.app_plane_signal_secret)
    with serving.running(app, world.systems.ports["rest"]):
        yield


def confirmed(world: World) -> State:
    """How the workflow stands once the app plane has said what it has to say."""
    until(lambda: world.newest.waiting_until is None, "the app plane confirms", seconds=20)
    return world.newest.state


@pytest.mark.usefixtures("door")
def test_the_app_plane_confirms_by_itself(world: World) -> None:
    world.run()

    assert confirmed(world) is State.COMPLETED
    assert world.desk.ledger.owed(world.the_tenant.id) == []


@pytest.mark.usefixtures("door")
def test_an_app_plane_that_has_reported_a_failure_is_told_anew(world: World) -> None:
    world.systems.break_("app_plane", "CONFIRM", "half_done", times=1, tenant=world.key)
    world.run()
    assert confirmed(world) is State.FAILED
    assert world.newest.failed_step == WEBHOOK.step
    assert "App plane reported a failure: the organization's workspace could not be made" in (world.newest.error or "")
    assert world.the_tenant.status is Status.ACTIVE
    assert world.desk.ledger.owed(world.the_tenant.id) == [WEBHOOK.step]

    world.resume()

    assert confirmed(world) is State.COMPLETED
    assert_one_of_each(world)
    assert world.desk.ledger.owed(world.the_tenant.id) == []
