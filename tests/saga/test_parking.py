"""A wait that is too long for a worker parks: the run ends, one row stays, and another run goes on when it is time."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered, Outage
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, Kind, Side, State
from tenant_pipelines.operations.reconcile import Push, reconcile, wake
from tenant_pipelines.operations.runs import RunState
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.company import TESTER, Company
from tests.fakes.runs import Killed
from tests.fakes.systems import Systems, world

PATIENT = dict.fromkeys(Group, Retries(3, 600.0, 600.0, 20.0, 3600.0))
"""The first wait between two tries is ten minutes."""
PLANS = Pending("Terraform plans", {"run_id": "run-1"}, 60.0)
AWAY = Outage.refused("S3", "127.0.0.1", 9000)


@pytest.fixture
def company(database: str, systems: Systems) -> Iterator[Company]:
    made = Company(database, world(systems), retries=PATIENT, undo_retry_every=600.0)
    yield made
    made.close()


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def make_due(admin: psycopg.Connection, execution: Execution) -> None:
    """Time passes."""
    changed = admin.execute(
        "update engine.executions set wake_at = now() where id = %s and parked_at is not null", [execution.id]
    )
    assert changed.rowcount == 1


def time_is_over(admin: psycopg.Connection, execution: Execution) -> None:
    """More of it passes than the step has."""
    admin.execute(
        "update engine.steps set started_at = started_at - interval '1 day', look_until = now() - interval '1 hour'"
        " where execution_id = %s and state = 'waiting'",
        [execution.id],
    )
    make_due(admin, execution)


def step_row(admin: psycopg.Connection, execution: Execution, step: str, side: str = "do") -> tuple[object, ...] | None:
    return admin.execute(
        "select state, token, answered from engine.steps where execution_id = %s and step = %s and side = %s",
        [execution.id, step, side],
    ).fetchone()


def attempts(admin: psycopg.Connection, execution: Execution, step: str) -> list[str | None]:
    rows = admin.execute(
        "select outcome from engine.attempts where execution_id = %s and step = %s and side = 'do' order by number",
        [execution.id, step],
    )
    return [outcome for (outcome,) in rows]


# What goes on outside


def test_what_goes_on_outside_for_longer_parks_and_is_picked_up_with_its_token(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    systems.fail("apply", PLANS)

    parked = company.provision("acme")

    assert (parked.state, parked.parked_step, parked.parked_side) == (
        State.FORWARD,
        "provisioning_infrastructure",
        Side.DO,
    )
    assert parked.message == "Terraform plans"
    assert parked.parked_at is not None
    assert parked.wake_at is not None
    assert timedelta(seconds=59) < parked.wake_at - parked.parked_at < timedelta(seconds=61)
    assert step_row(admin, parked, "provisioning_infrastructure") == ("waiting", {"run_id": "run-1"}, 0)
    assert attempts(admin, parked, "provisioning_infrastructure") == ["waiting"]
    assert "deploy" not in systems.calls

    make_due(admin, parked)
    company.wake()

    assert systems.looked == [{"run_id": "run-1"}]
    done = company.execution(parked)
    assert done.waiting_until is not None
    assert not done.parked
    assert company.tenant("acme").status is Status.ACTIVE
    assert [systems.calls.count(call) for call in ("workspace", "apply", "organization", "deploy")] == [1, 2, 1, 1]
    assert attempts(admin, parked, "provisioning_infrastructure") == ["waiting", "done"]
    assert [(launch.kind, launch.first_step, launch.parked) for launch in company.runs.launched] == [
        (Kind.FORWARD, None, None),
        (Kind.CONTINUATION, "provisioning_infrastructure", "provisioning_infrastructure"),
    ]


def test_short_waits_are_slept_until_the_worker_has_waited_for_long_enough(company: Company, systems: Systems) -> None:
    company.wait_in_worker = 0.1
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 0.03), times=5)

    parked = company.provision("acme")

    assert parked.parked_step == "provisioning_infrastructure"
    assert systems.calls.count("apply") == 4  # three waits of 0.03 s fit into 0.1 s


def test_a_wait_in_each_of_two_steps_is_slept_in_each(company: Company, systems: Systems) -> None:
    company.wait_in_worker = 0.1
    for operation in ("apply", "deploy"):
        systems.fail(operation, Pending("It goes on", {"run_id": "run-1"}, 0.03), times=3)

    execution = company.provision("acme")

    assert execution.waiting_until is not None
    assert len(company.runs.launched) == 1


@pytest.mark.parametrize(
    ("found", "looks_again"),
    [(["goes_on"], True), ([AWAY], True), ([Answered("Terraform", "said no")], False), ([ValueError()], False)],
    ids=["it goes on", "it cannot be asked", "it answers an error", "a mistake of our own"],
)
def test_a_look_decides_whether_a_run_is_needed(
    company: Company, systems: Systems, admin: psycopg.Connection, found: list[object], looks_again: bool
) -> None:
    systems.fail("apply", PLANS)
    parked = company.provision("acme")
    systems.looks = list(found)  # type: ignore[arg-type]
    make_due(admin, parked)

    company.wake()

    now = company.execution(parked)
    assert now.parked is looks_again
    assert (len(company.runs.launched) == 1) is looks_again
    assert systems.calls.count("apply") == (1 if looks_again else 2)
    if looks_again:
        assert now.wake_at is not None
        assert now.wake_at > company.desk.clock.now() + timedelta(seconds=50)
        assert now.updated_at == parked.updated_at


def test_a_look_writes_nothing(company: Company, systems: Systems, admin: psycopg.Connection) -> None:
    systems.fail("apply", PLANS)
    parked = company.provision("acme")
    make_due(admin, parked)
    history = len(company.desk.ledger.history(parked.id))
    systems.looks = ["goes_on"]  # type: ignore[list-item]

    company.wake()

    assert len(company.desk.ledger.history(parked.id)) == history
    assert systems.calls.count("apply") == 1


def test_the_last_look_within_the_steps_time_is_the_steps_own(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    systems.fail("apply", PLANS, times=2)
    parked = company.provision("acme")
    time_is_over(admin, parked)

    company.wake()

    assert systems.looked == []
    failed = company.execution(parked)
    assert failed.failed_step == "provisioning_infrastructure"
    assert "is still waiting after 3600 s: Terraform plans" in (failed.error or "")


def test_what_is_done_by_the_time_somebody_looks_again_is_done_though_its_time_is_over(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    """As after an hour without any worker."""
    systems.fail("apply", PLANS)
    parked = company.provision("acme")
    time_is_over(admin, parked)

    company.wake()

    assert company.tenant("acme").status is Status.ACTIVE


# Another try, later


def test_a_long_backoff_parks_and_counts_on(company: Company, systems: Systems, admin: psycopg.Connection) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=3)

    parked = company.provision("acme")

    assert parked.parked_step == "provisioning_storage"
    assert parked.message == "Another try, after: S3 said no"
    assert step_row(admin, parked, "provisioning_storage") == ("waiting", None, 1)
    for _ in range(2):
        make_due(admin, parked)
        company.wake()
    failed = company.execution(parked)
    assert systems.looked == []
    assert systems.calls.count("bucket") == 3
    assert "S3 said no (SystemError, after 3 attempts)" in (failed.error or "")
    assert attempts(admin, parked, "provisioning_storage") == ["answered"] * 3


def test_a_backoff_after_an_outage_keeps_what_goes_on_outside(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    company.wait_in_worker = 1.0
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 0.01))
    systems.fail("apply", Outage.refused("Terraform", "127.0.0.1", 1))

    parked = company.provision("acme")

    assert step_row(admin, parked, "provisioning_infrastructure") == ("waiting", {"run_id": "run-1"}, 0)
    make_due(admin, parked)
    company.wake()
    assert systems.calls.count("workspace") == 1
    assert company.tenant("acme").status is Status.ACTIVE


def test_a_step_that_has_no_time_left_after_its_wait_says_what_it_waited_for(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    systems.fail("bucket", AWAY)
    parked = company.provision("acme")
    time_is_over(admin, parked)

    company.wake()

    failed = company.execution(parked)
    assert failed.failed_step == "provisioning_storage"
    assert "ECONNREFUSED" in (failed.error or "")


# The way back


def test_an_undo_parks_and_the_rollback_goes_on_from_there(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    company.retries = {**PATIENT, Group.DEPLOYMENT: Retries(1, 600.0, 600.0, 20.0, 3600.0)}
    systems.fail("deploy", Answered("Kubernetes", "said no"))
    systems.fail("destroy", Pending("Terraform destroys", {"run_id": "run-2"}, 60.0))

    parked = company.provision("acme")

    assert (parked.state, parked.parked_step, parked.parked_side) == (
        State.ROLLING_BACK,
        "provisioning_infrastructure",
        Side.UNDO,
    )
    assert "remove bucket" not in systems.calls
    make_due(admin, parked)
    company.wake()
    closed = company.execution(parked)
    assert closed.state is State.FAILED
    assert systems.of("acme") == set()
    woken = company.runs.launched[-1]
    assert (woken.kind, woken.first_step, woken.parked) == (
        Kind.ROLLBACK,
        "provisioning_infrastructure",
        "provisioning_infrastructure",
    )
    assert systems.calls.count("remove deployment") == 1


def test_nobody_acts_between_two_passes_of_a_rollback(company: Company, systems: Systems) -> None:
    company.retries = dict.fromkeys(Group, Retries(1, 600.0, 600.0, 20.0, 3600.0))
    systems.fail("bucket", Answered("S3", "said no"))
    systems.fail("remove bucket", Answered("S3", "said no"))
    resting = company.provision("acme")
    assert resting.next_undo_at is not None

    with pytest.raises(Refused, match="waits"):
        company.engine_of(resting.run_id, resting.tenant_id).conclude()

    assert reconcile(company.desk, resting, by="guard") is Push.NOTHING
    assert company.desk.ledger.replace_lost_run(resting, PROVISIONING) is None


# Nobody acts for a parked execution


def parked_at_apply(company: Company, systems: Systems) -> Execution:
    systems.fail("apply", PLANS)
    parked = company.provision("acme")
    assert parked.parked
    return parked


def test_a_run_that_has_parked_cannot_act_any_more(company: Company, systems: Systems) -> None:
    parked = parked_at_apply(company, systems)
    engine = company.engine_of(parked.run_id, parked.tenant_id)
    calls = list(systems.calls)

    with pytest.raises(Refused, match="no run acts for it until it is woken") as refused:
        engine.forward(PROVISIONING.step("deploying_application"), lambda _: None)
    with pytest.raises(Refused):
        engine.ledger.fence(Side.DO)

    assert refused.value.code is Code.WRONG_STATE
    assert systems.calls == calls


def test_the_same_park_once_more_answers_the_same(company: Company, systems: Systems) -> None:
    """As after a lost answer."""
    parked = parked_at_apply(company, systems)
    engine = company.engine_of(parked.run_id, parked.tenant_id)

    again = engine.forward(PROVISIONING.step("provisioning_infrastructure"), lambda _: None)

    assert again == company.runs.parked[0]
    assert company.execution(parked) == parked
    assert systems.calls.count("apply") == 1


def test_the_end_of_the_run_that_has_parked_is_no_lost_worker(company: Company, systems: Systems) -> None:
    parked = parked_at_apply(company, systems)
    assert company.runs.state(parked.run_id) is RunState.ENDED

    assert reconcile(company.desk, parked, by="guard") is Push.NOTHING
    assert company.desk.ledger.replace_lost_run(parked, PROVISIONING) is None

    assert company.execution(parked) == parked


def test_a_run_that_was_replaced_cannot_park(company: Company, systems: Systems) -> None:
    def replaced(operation: str) -> None:
        if operation == "apply" and not company.runs.refused:
            execution = company.desk.ledger.execution(f"provision-tenant-{company.tenant('acme').id}")
            company.desk.ledger.replace_lost_run(execution, PROVISIONING)
            systems.before = lambda _: None

    systems.before = replaced
    systems.fail("apply", PLANS)

    execution = company.provision("acme")

    assert not execution.parked
    assert "acts for workflow" in company.runs.refused[0].message


# Waking


def test_one_of_many_wakes_it(company: Company, systems: Systems) -> None:
    parked = parked_at_apply(company, systems)

    answers = [wake(company.desk, parked, by="waker") for _ in range(3)]

    assert answers == [True, False, False]
    assert len(company.runs.launched) == 2


def test_a_look_that_was_moved_meanwhile_puts_nothing_off(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    """A cancel that comes while somebody looks is not slept over."""
    parked = parked_at_apply(company, systems)
    make_due(admin, parked)
    systems.looks = ["goes_on"]  # type: ignore[list-item]
    systems.before = lambda operation: cancel(company) if operation == "look" else None

    company.wake()

    assert company.settle(parked).state is State.CANCELLED


def test_a_launch_that_was_lost_after_the_claim_is_made_up_for(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    parked = parked_at_apply(company, systems)
    make_due(admin, parked)
    company.runs.lost_launches = 1
    company.wake()
    claimed = company.execution(parked)
    assert not claimed.parked
    assert len(company.runs.launched) == 1

    assert reconcile(company.desk, claimed, by="guard") is Push.LAUNCH

    assert company.runs.launched[-1].parked == "provisioning_infrastructure"
    assert company.tenant("acme").status is Status.ACTIVE


def test_a_worker_that_dies_after_the_wake_is_continued(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    parked = parked_at_apply(company, systems)
    make_due(admin, parked)
    died: list[str] = []

    def die(operation: str) -> None:
        if operation == "apply" and not died:
            died.append(operation)
            raise Killed

    systems.before = die

    execution = company.settle(parked)

    assert execution.waiting_until is not None
    assert [launch.parked for launch in company.runs.launched] == [None, "provisioning_infrastructure", None]


def test_the_guard_wakes_what_nobody_has_woken_in_time(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    parked = parked_at_apply(company, systems)
    make_due(admin, parked)
    assert reconcile(company.desk, company.execution(parked), by="guard") is Push.NOTHING
    admin.execute("update engine.executions set wake_at = now() - interval '6 seconds' where id = %s", [parked.id])

    assert reconcile(company.desk, company.execution(parked), by="guard") is Push.WAKE

    assert systems.looked == []
    assert company.tenant("acme").status is Status.ACTIVE


# Cancelling


def cancel(company: Company) -> None:
    tenant = company.tenant("acme")
    signal(company.desk, tenant.id, "provisioningCancelled", {}, key="1", claimant=TESTER)


def test_a_cancel_wakes_a_parked_step_and_rolls_back_without_another_run_forward(
    company: Company, systems: Systems
) -> None:
    parked = parked_at_apply(company, systems)

    cancel(company)
    company.wake()

    closed = company.settle(parked)
    assert closed.state is State.CANCELLED
    assert company.tenant("acme").status is Status.PROVISION_CANCELLED
    assert systems.of("acme") == set()
    assert systems.looked == []
    assert [launch.kind for launch in company.runs.launched] == [Kind.FORWARD, Kind.ROLLBACK]


def test_a_cancel_past_the_pivot_ends_a_parked_workflow_and_lists_what_is_owed(
    company: Company, systems: Systems
) -> None:
    systems.fail("customer", Outage.refused("Stripe", "127.0.0.1", 1))
    parked = company.provision("acme")
    assert parked.parked_step == "creating_billing_customer"

    cancel(company)
    company.wake()

    closed = company.execution(parked)
    assert closed.state is State.CANCELLED
    assert not closed.parked
    assert company.tenant("acme").status is Status.ACTIVE
    assert set(company.desk.ledger.owed(parked.tenant_id)) == {step.name for step in PROVISIONING.steps[10:]}


def test_a_cancel_does_not_hurry_a_parked_undo(company: Company, systems: Systems) -> None:
    company.retries = {**PATIENT, Group.DEPLOYMENT: Retries(1, 600.0, 600.0, 20.0, 3600.0)}
    systems.fail("deploy", Answered("Kubernetes", "said no"))
    systems.fail("destroy", Pending("Terraform destroys", {"run_id": "run-2"}, 60.0))
    parked = company.provision("acme")

    cancel(company)

    assert company.execution(parked).wake_at == parked.wake_at


def test_a_cancel_in_the_moment_of_parking_is_seen(company: Company, systems: Systems) -> None:
    systems.fail("apply", PLANS)
    systems.before = lambda operation: cancel(company) if operation == "apply" else None

    closed = company.settle(company.provision("acme"))

    assert closed.state is State.CANCELLED
    assert company.runs.parked == []


def test_a_run_cancelled_in_dagster_as_it_parked_is_a_cancel(company: Company, systems: Systems) -> None:
    parked = parked_at_apply(company, systems)
    company.runs.states[parked.run_id] = RunState.CANCELLED

    assert reconcile(company.desk, parked, by="run_cancelled") is Push.CANCEL

    assert company.settle(parked).state is State.CANCELLED


# Handing over


def hand_over(admin: psycopg.Connection) -> None:
    admin.execute("update engine.runs set hand_over = true")


def handing_over_at(admin: psycopg.Connection, systems: Systems, operation: str) -> None:
    """The pool is told to end while this call goes on."""
    told: list[str] = []

    def before(seen: str) -> None:
        if seen == operation and not told:
            told.append(seen)
            hand_over(admin)

    systems.before = before


def test_a_run_that_is_handed_over_ends_its_call_and_parks_before_the_next_step(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    handing_over_at(admin, systems, "schema")

    parked = company.provision("acme")

    assert (parked.parked_step, parked.message) == ("provisioning_storage", "Handed over to another worker")
    assert "role" in systems.calls
    assert "bucket" not in systems.calls
    assert step_row(admin, parked, "provisioning_database") == ("done", None, 0)
    assert step_row(admin, parked, "provisioning_storage") is None

    company.wake()

    assert company.tenant("acme").status is Status.ACTIVE
    assert systems.calls.count("schema") == 1
    assert [launch.first_step for launch in company.runs.launched] == [None, "provisioning_storage"]
    losses = admin.execute("select losses from engine.executions where id = %s", [parked.id]).fetchone()
    assert losses == (0,)


def test_a_rollback_is_handed_over_as_well(company: Company, systems: Systems, admin: psycopg.Connection) -> None:
    company.retries = dict.fromkeys(Group, Retries(1, 600.0, 600.0, 20.0, 3600.0))
    systems.fail("resources", Answered("PostgreSQL", "said no"))
    handing_over_at(admin, systems, "remove deployment")

    parked = company.provision("acme")

    assert (parked.parked_step, parked.parked_side) == ("provisioning_infrastructure", Side.UNDO)
    company.wake()
    assert company.execution(parked).state is State.FAILED
    assert systems.of("acme") == set()
    assert systems.calls.count("remove deployment") == 1


def test_a_wait_that_is_slept_is_handed_over_too(company: Company, systems: Systems, admin: psycopg.Connection) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 5.0))
    handing_over_at(admin, systems, "apply")
    began = company.desk.clock.monotonic()

    parked = company.provision("acme")

    assert company.desk.clock.monotonic() - began < 4
    assert parked.parked_step == "provisioning_infrastructure"
    assert parked.message == "Terraform plans"
    assert parked.wake_at is not None
    assert parked.parked_at is not None
    assert parked.wake_at - parked.parked_at < timedelta(seconds=4.6)  # half a second has been slept
    assert step_row(admin, parked, "provisioning_infrastructure") == ("waiting", {"run_id": "run-1"}, 0)


def others_wait(admin: psycopg.Connection, execution_run: str, *, since: str, format: int = 1) -> None:
    """The run is one of the pool's, and another one waits for a worker."""
    admin.execute(
        "insert into engine.launches (run_id, job, state, lease, pool, worker_pid, worker_started)"
        " values (%s, 'j', 'taken', nextval('engine.leases'), gen_random_uuid(), 1, 1) on conflict do nothing",
        [execution_run],
    )
    admin.execute(
        "insert into engine.launches (run_id, format, job, queued_at)"
        " values (gen_random_uuid(), %s, 'j', now() - %s::interval)",
        [format, since],
    )


def run_of_acme(admin: psycopg.Connection) -> str:
    row = admin.execute("select run_id from engine.executions where tenant_key = 'acme' and closed_at is null")
    return str((row.fetchone() or ["-"])[0])


def test_a_wait_that_is_slept_gives_its_worker_back_when_others_wait_for_one(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 5.0))
    systems.before = lambda seen: others_wait(admin, run_of_acme(admin), since="2 s") if seen == "apply" else None

    parked = company.provision("acme")

    assert parked.parked_step == "provisioning_infrastructure"
    assert parked.message == "Terraform plans"
    assert parked.wake_at is not None
    assert parked.parked_at is not None
    assert timedelta(seconds=4) < parked.wake_at - parked.parked_at < timedelta(seconds=4.6)
    assert step_row(admin, parked, "provisioning_infrastructure") == ("waiting", {"run_id": "run-1"}, 0)


@pytest.mark.parametrize(
    ("seconds", "since", "format", "in_the_pool"),
    [(0.9, "2 s", 1, True), (1.6, "-1 h", 1, True), (1.6, "2 s", 32000, True), (1.6, "2 s", 1, False)],
    ids=[
        "a wait too short to be worth it",
        "others wait since now",
        "only a newer release can",
        "no worker of the pool",
    ],
)
def test_a_wait_that_is_slept_is_slept_where_nobody_is_helped(
    company: Company,
    systems: Systems,
    admin: psycopg.Connection,
    seconds: float,
    since: str,
    format: int,
    in_the_pool: bool,
) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, seconds))

    def before(seen: str) -> None:
        if seen == "apply":
            run = run_of_acme(admin) if in_the_pool else "00000000-0000-0000-0000-000000000001"
            others_wait(admin, run, since=since, format=format)

    systems.before = before

    done = company.provision("acme")

    assert not done.parked
    assert systems.calls.count("deploy") == 1


def test_a_step_that_was_parked_is_handed_over_without_losing_what_goes_on_outside(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    parked = parked_at_apply(company, systems)
    make_due(admin, parked)
    company.runs.lost_launches = 1
    company.wake()
    hand_over(admin)
    reconcile(company.desk, company.execution(parked), by="guard")
    again = company.execution(parked)
    assert (again.parked_step, again.message) == ("provisioning_infrastructure", "Handed over to another worker")
    assert systems.calls.count("apply") == 1
    systems.looks = ["goes_on"]  # type: ignore[list-item]

    company.wake()

    assert company.execution(parked).parked
    assert systems.looked == [{"run_id": "run-1"}] * 2


# Signals


def test_a_confirmation_that_comes_while_the_webhook_is_parked_is_kept(
    company: Company, systems: Systems, admin: psycopg.Connection
) -> None:
    systems.fail("app plane", Outage.refused("App plane", "127.0.0.1", 1))
    parked = company.provision("acme")
    assert parked.parked_step == "provisioning_app_plane"

    signal(company.desk, parked.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    assert company.execution(parked).parked
    make_due(admin, parked)
    company.wake()

    assert company.execution(parked).state is State.COMPLETED
