"""Waits in Dagster: the run that parks ends, says what it waits for, and is continued by another one to the end."""

from collections.abc import Callable
from datetime import UTC
from uuid import UUID

import psycopg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from tenant_pipelines.domain.failures import Outage, Validation
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.ports import Look
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.parking import Looks
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.runs import NotLaunched, RunState
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.runs.stage import Stage

STEPS = [step.name for step in PROVISIONING.steps]
PLANS = Pending("Terraform plans", {"run_id": "run-1"}, 20.0)
"""Longer than the fifteen seconds that a worker may wait, shorter than the thirty of the step."""
PARKED = "provisioning_infrastructure"


@pytest.fixture
def wake(stage: Stage, database: str) -> Callable[[Execution], None]:
    """Time passes, and the waker sees to what is due."""

    def act(execution: Execution) -> None:
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute("update engine.executions set wake_at = now() where id = %s", [execution.id])
        with Looks(stage.desk, stage.world) as looks:
            looks.pass_over()
            looks.rest()
            looks.pass_over()

    return act


Wake = Callable[[Execution], None]


def test_a_run_that_parks_ends_well_skips_the_rest_and_says_what_it_waits_for(stage: Stage, systems: Systems) -> None:
    systems.fail("apply", PLANS)

    run = stage.launch_by_hand(stage.tenant().id)

    assert run.status is DagsterRunStatus.SUCCESS
    assert stage.runs.state(UUID(run.run_id)) is RunState.ENDED
    after = STEPS[STEPS.index(PARKED) + 1 :]
    assert stage.steps(run, DagsterEventType.STEP_SKIPPED) == after
    assert stage.steps(run, DagsterEventType.STEP_FAILURE) == []
    execution = stage.execution(run)
    assert execution.state is State.FORWARD
    assert execution.parked_at is not None
    assert execution.wake_at is not None
    last = list(stage.shown(run))[-1]
    assert (last, stage.shown(run)[last]) == (
        PARKED,
        {
            "state": "waiting",
            "waits_for": "Terraform plans",
            "since": f"{execution.parked_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "looked_at_again": f"{execution.wake_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "to_cancel": f"tenant-pipelines workflow signal {execution.workflow_id} provisioningCancelled",
        },
    )
    assert any("waits: Terraform plans" in text for _, text, _ in stage.journal.lines)


def test_it_is_continued_from_there_to_the_end_in_the_same_group(stage: Stage, systems: Systems, wake: Wake) -> None:
    systems.fail("apply", PLANS)
    run = stage.launch_by_hand(stage.tenant().id)

    wake(stage.execution(run))

    [queued] = stage.queued()
    assert {name: queued.tags.get(name) for name in ("kind", "parked", "workflow_run_id")} == {
        "kind": "continuation",
        "parked": PARKED,
        "workflow_run_id": run.run_id,
    }
    assert (queued.tags["dagster/root_run_id"], queued.tags["dagster/parent_run_id"]) == (run.run_id, run.run_id)
    assert (queued.root_run_id, queued.parent_run_id) == (run.run_id, run.run_id)
    assert stage.runs.state(UUID(queued.run_id)) is RunState.ALIVE
    [continued] = stage.carry_out_queue()
    assert continued.status is DagsterRunStatus.SUCCESS
    assert stage.steps(continued) == STEPS[STEPS.index(PARKED) :]
    assert group(stage.instance, run) == {run.run_id, continued.run_id}
    assert systems.looked == [{"run_id": "run-1"}]
    assert [systems.calls.count(name) for name in ("organization", "workspace", "apply")] == [1, 1, 2]
    execution = stage.execution(run)
    signal(stage.desk, execution.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    assert stage.execution(run).state is State.COMPLETED


def test_what_still_goes_on_needs_no_run(stage: Stage, systems: Systems, wake: Wake) -> None:
    systems.fail("apply", PLANS)
    run = stage.launch_by_hand(stage.tenant().id)
    systems.looks = [Look.GOES_ON]

    wake(stage.execution(run))

    assert stage.queued() == []
    assert stage.execution(run).parked


def test_a_backoff_parks_and_the_next_run_tries_again(stage: Stage, systems: Systems, wake: Wake) -> None:
    away = Outage("S3", "is rate limiting us (HTTP 429)", retry_after=20)
    systems.fail("bucket", away)
    run = stage.launch_by_hand(stage.tenant().id)
    assert run.status is DagsterRunStatus.SUCCESS
    assert "HTTP 429" in stage.shown(run)["provisioning_storage"]["waits_for"]

    wake(stage.execution(run))
    [continued] = stage.carry_out_queue()

    assert continued.tags["parked"] == "provisioning_storage"
    assert systems.calls.count("bucket") == 2
    assert stage.execution(run).waiting_until is not None


def test_an_undo_parks_and_the_rollback_goes_on_with_it(stage: Stage, systems: Systems, wake: Wake) -> None:
    systems.fail("resources", Validation("PostgreSQL", "said no"))
    systems.fail("destroy", Pending("Terraform destroys", {"run_id": "run-2"}, 20.0))
    run = stage.launch_by_hand(stage.tenant().id)

    [rollback] = stage.carry_out_queue()

    assert rollback.status is DagsterRunStatus.SUCCESS
    shown = stage.shown(rollback)[f"undo_{PARKED}"]
    assert (shown["state"], shown["waits_for"]) == ("waiting", "Terraform destroys")
    assert "to_cancel" not in shown
    assert stage.steps(rollback, DagsterEventType.STEP_SKIPPED)[0] == "undo_provisioning_storage"

    wake(stage.execution(run))
    [continued] = stage.carry_out_queue()

    assert (continued.job_name, continued.tags["parked"]) == ("rollback_tenant", PARKED)
    assert stage.steps(continued)[0] == f"undo_{PARKED}"
    assert stage.steps(continued)[-1] == "undo_updating_status"
    assert systems.calls.count("remove deployment") == 1
    assert group(stage.instance, run) == {run.run_id, rollback.run_id, continued.run_id}
    assert stage.execution(run).state is State.FAILED
    assert systems.of("acme") == set()


def test_a_run_that_is_handed_over_ends_and_another_worker_goes_on(
    stage: Stage, systems: Systems, wake: Wake, database: str
) -> None:
    def hand_over(operation: str) -> None:
        if operation == "schema":
            with psycopg.connect(database, autocommit=True) as admin:
                admin.execute("update engine.runs set hand_over = true")

    systems.before = hand_over
    run = stage.launch_by_hand(stage.tenant().id)
    systems.before = lambda _: None
    assert run.status is DagsterRunStatus.SUCCESS
    assert stage.shown(run)["provisioning_storage"]["waits_for"] == "Handed over to another worker"

    wake(stage.execution(run))
    [continued] = stage.carry_out_queue()

    assert stage.steps(continued)[0] == "provisioning_storage"
    assert systems.calls.count("schema") == 1
    assert stage.ledger.tenant(stage.execution(run).tenant_id).status is Status.ACTIVE


def test_a_cancel_of_a_parked_workflow_rolls_back_at_once(stage: Stage, systems: Systems, wake: Wake) -> None:
    systems.fail("apply", PLANS)
    run = stage.launch_by_hand(stage.tenant().id)

    stage.cancel(stage.execution(run))
    wake(stage.execution(run))

    [rollback] = stage.carry_out_queue()
    assert rollback.job_name == "rollback_tenant"
    assert stage.execution(run).state is State.CANCELLED
    assert systems.of("acme") == set()


@pytest.mark.parametrize("away", ["add_run", "submit_run"])
def test_dying_between_the_claim_and_the_launch_is_made_up_for(
    stage: Stage, systems: Systems, wake: Wake, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    systems.fail("apply", PLANS)
    run = stage.launch_by_hand(stage.tenant().id)

    def dies(*_: object, **__: object) -> None:
        raise ConnectionError

    dies_in: object = DagsterInstance if away == "submit_run" else stage.instance.run_storage
    with monkeypatch.context() as dying:
        dying.setattr(dies_in, away, dies)
        with pytest.raises(ExceptionGroup) as lost:
            wake(stage.execution(run))
    assert [type(error) for error in lost.value.exceptions] == [NotLaunched]
    claimed = stage.execution(run)
    assert not claimed.parked
    assert stage.queued() == []

    assert reconcile(stage.desk, claimed, by="workflow_guard") is Push.LAUNCH

    [continued] = stage.carry_out_queue()
    assert (continued.run_id, continued.tags["parked"]) == (str(claimed.run_id), PARKED)
    assert stage.execution(run).waiting_until is not None


def test_re_executing_a_parked_run_is_refused_and_touches_nothing(stage: Stage, systems: Systems) -> None:
    systems.fail("apply", PLANS)
    run = stage.launch_by_hand(stage.tenant().id)
    calls, parked = list(systems.calls), stage.execution(run)

    again = stage.re_execute(run)

    assert again.tags["refused"] == "BUSY"
    assert systems.calls == calls
    assert stage.execution(run) == parked


def test_a_run_terminated_by_force_as_it_parked_is_a_cancel(stage: Stage, systems: Systems) -> None:
    systems.fail("apply", PLANS)
    execution = stage.start(stage.tenant())
    run = stage.carry_out(execution.id)
    stage.instance.report_run_canceled(run)

    assert reconcile(stage.desk, stage.execution(run), by="run_cancelled") is Push.CANCEL

    [rollback] = stage.carry_out_queue()
    assert rollback.job_name == "rollback_tenant"
    assert stage.execution(run).state is State.CANCELLED


def group(instance: DagsterInstance, run: DagsterRun) -> set[str]:
    found = instance.get_run_group(run.run_id)
    assert found is not None
    return {each.run_id for each in found[1]}
