"""Lost workers: what goes on, what Dagster is told, and every order of dying in between."""

from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from sensors.guard import workflow_guard
from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.ledger.launches import Launches, LaunchState
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations.lost import continue_lost_workers
from tenant_pipelines.operations.runs import RunState
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs.gateway import DagsterRuns
from tests.fakes.systems import Systems
from tests.launcher.warm_fixtures import systems, warm, warm_dagster, warm_settings
from tests.launcher.warm_stage import WarmStage

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]

STEPS = [step.name for step in PROVISIONING.steps]


def last_word(warm: WarmStage, run_id: UUID | str) -> str:
    kinds = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}
    *_, last = warm.instance.all_logs(str(run_id), of_type=kinds)
    assert last.dagster_event is not None
    return last.dagster_event.message or ""


def test_the_execution_goes_on_in_another_run_and_the_lost_one_says_where(warm: WarmStage, systems: Systems) -> None:
    execution = warm.start(warm.tenant())
    warm.lose(after="provisioning_database")
    assert warm.run(execution.id).status is DagsterRunStatus.STARTED

    assert continue_lost_workers(warm.desk, by="waker") == 1

    now = warm.execution(warm.run(execution.id))
    assert now.run_id != execution.id
    assert warm.run(execution.id).status is DagsterRunStatus.FAILURE
    assert last_word(warm, execution.id) == (
        f"Its worker (pid 4711) was lost; the workflow goes on in run {now.run_id}."
    )
    assert warm.row(execution.id).outcome == "lost"
    [continued] = warm.work_all()
    assert warm.steps(continued) == STEPS[STEPS.index("provisioning_storage") :]
    assert systems.calls.count("organization") == 1


def test_a_worker_that_was_lost_before_its_first_step_is_continued_too(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.lose(begun=False)

    continue_lost_workers(warm.desk, by="waker")

    [continued] = warm.work_all()
    assert continued.run_id != str(execution.id)
    assert warm.steps(continued) == STEPS
    assert warm.run(execution.id).status is DagsterRunStatus.FAILURE


def test_the_third_loss_fails_the_step_and_the_lost_run_says_so(warm: WarmStage, systems: Systems) -> None:
    tenant = warm.tenant()
    execution = warm.start(tenant)
    for _ in range(3):
        lost = warm.lose()
        continue_lost_workers(warm.desk, by="waker")

    assert "the workflow is rolled back" in last_word(warm, lost.run_id)
    [rollback] = warm.work_all()
    assert rollback.job_name == "rollback_tenant"
    now = warm.execution(warm.run(execution.id))
    assert (now.state, now.error_code) == (State.FAILED, "WorkerLost")
    assert systems.of(tenant.key) == set()


def test_a_worker_that_was_lost_while_it_was_being_cancelled_is_a_cancel(warm: WarmStage, systems: Systems) -> None:
    tenant = warm.tenant()
    execution = warm.start(tenant)
    warm.lose(after="provisioning_database")
    warm.instance.report_run_canceling(warm.run(execution.id))

    continue_lost_workers(warm.desk, by="waker")

    assert warm.run(execution.id).status is DagsterRunStatus.CANCELED
    warm.work_all()
    assert warm.ledger.tenant(tenant.id).status is Status.PROVISION_CANCELLED
    assert systems.of(tenant.key) == set()


def test_a_lost_rollback_goes_on(warm: WarmStage, systems: Systems) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    tenant = warm.tenant()
    execution = warm.start(tenant)
    warm.work()
    lost = warm.lose()

    continue_lost_workers(warm.desk, by="waker")

    [rollback] = warm.work_all()
    assert rollback.run_id != str(lost.run_id)
    assert warm.execution(warm.run(execution.id)).state is State.FAILED
    assert systems.of(tenant.key) == set()


def test_a_worker_that_died_after_its_work_was_done_changes_nothing(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.take()
    run = warm.carry_out(lease.run_id)
    assert warm.launches.give_up(lease)

    continue_lost_workers(warm.desk, by="waker")

    assert warm.run(execution.id).status is DagsterRunStatus.SUCCESS
    assert warm.execution(run).run_id == execution.id
    assert warm.launches.queued() == 0
    assert warm.row(execution.id).state is LaunchState.ENDED


def test_one_that_cannot_be_continued_does_not_stop_the_next(warm: WarmStage, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = warm.start(warm.tenant()), warm.start(warm.tenant())
    for _ in range(2):
        warm.lose()
    replace = OperatorLedger.replace_lost_run

    def stubborn(self: OperatorLedger, execution: Any, catalogue: Any) -> Any:
        if execution.id == first.id:
            raise RuntimeError("as told")
        return replace(self, execution, catalogue)

    with monkeypatch.context() as broken:
        broken.setattr(OperatorLedger, "replace_lost_run", stubborn)
        with pytest.raises(ExceptionGroup, match="1 of 2"):
            continue_lost_workers(warm.desk, by="waker")

    assert warm.row(first.id).state is LaunchState.LOST
    assert warm.row(second.id).state is LaunchState.ENDED
    assert continue_lost_workers(warm.desk, by="guard") == 1


# Launched by hand, and lost before it belonged to anything


def test_one_that_had_not_begun_goes_back_into_the_queue(warm: WarmStage) -> None:
    run = launched_by_hand(warm)
    warm.lose(begun=False)

    continue_lost_workers(warm.desk, by="waker")

    assert warm.row(run.run_id).state is LaunchState.QUEUED
    assert warm.work().run_id == run.run_id
    assert warm.execution(run).waiting_until is not None


def test_one_that_had_begun_is_carried_out_all_the_same_under_its_own_id(warm: WarmStage) -> None:
    run = launched_by_hand(warm)
    warm.lose()

    continue_lost_workers(warm.desk, by="waker")

    execution = warm.execution(run)
    assert str(execution.id) == run.run_id
    assert f"goes on in run {execution.run_id}" in last_word(warm, run.run_id)
    [continued] = warm.work_all()
    assert warm.steps(continued) == STEPS
    assert ("FLOW_START" in {marker.value for marker, *_ in warm.journal.lines}) is True


def test_one_that_had_begun_and_cannot_be_claimed_any_more_says_why(warm: WarmStage) -> None:
    tenant = warm.tenant()
    run = launched_by_hand(warm, tenant)
    warm.lose()
    warm.start(tenant)

    continue_lost_workers(warm.desk, by="waker")

    assert warm.run(run.run_id).status is DagsterRunStatus.FAILURE
    assert "is running" in last_word(warm, run.run_id)
    assert warm.row(run.run_id).state is LaunchState.ENDED


def test_a_rollback_that_was_launched_by_hand_is_closed_with_the_way_out(warm: WarmStage) -> None:
    run = warm.instance.create_run_for_job(warm.job("rollback_tenant"), run_config={"tenant_id": str(warm.tenant().id)})
    warm.launches.add(UUID(run.run_id), "rollback_tenant")
    warm.lose()

    continue_lost_workers(warm.desk, by="waker")

    assert "Way out: launch it again" in last_word(warm, run.run_id)


def test_a_lost_run_that_was_deleted_in_dagster_is_forgotten(warm: WarmStage) -> None:
    run = launched_by_hand(warm)
    lease = warm.take()
    warm.launches.give_up(lease)
    warm.instance.delete_run(run.run_id)

    continue_lost_workers(warm.desk, by="waker")

    assert warm.row(run.run_id).state is LaunchState.ENDED


def launched_by_hand(warm: WarmStage, *tenants: Any) -> DagsterRun:
    run = warm.by_hand(*tenants)
    warm.instance.submit_run(run.run_id, None)  # type: ignore[arg-type]
    return run


# Dying in between


class Dies(BaseException):
    """The process that sees to lost workers is killed."""


KILL_POINTS = {
    "before the execution is taken over": (OperatorLedger, "replace_lost_run", "before"),
    "after the execution was taken over": (OperatorLedger, "replace_lost_run", "after"),
    "before the lost run is closed": (DagsterRuns, "close_lost", "before"),
    "after the lost run was closed": (DagsterRuns, "close_lost", "after"),
    "before the continuation is made": (DagsterRuns, "_create", "before"),
    "after the continuation was made": (DagsterRuns, "_create", "after"),
    "before the continuation is in the queue": (Launches, "add", "before"),
    "after the continuation is in the queue": (Launches, "add", "after"),
    "before the row is settled": (Launches, "settle_lost", "before"),
    "after the row was settled": (Launches, "settle_lost", "after"),
}


@pytest.mark.parametrize("healer", ["waker", "guard"])
@pytest.mark.parametrize("point", KILL_POINTS)
def test_whoever_dies_seeing_to_a_lost_worker_is_made_up_for(
    warm: WarmStage, systems: Systems, monkeypatch: pytest.MonkeyPatch, point: str, healer: str
) -> None:
    execution = warm.start(warm.tenant())
    warm.lose(after="provisioning_database")
    with monkeypatch.context() as dying:
        _kill_at(dying, *KILL_POINTS[point])
        with pytest.raises(Dies):
            continue_lost_workers(warm.desk, by="waker")

    if healer == "guard":
        monkeypatch.setattr("tenant_pipelines.operations.reconcile.QUIET", 0.0)
        _tick(warm)
    else:
        continue_lost_workers(warm.desk, by="waker")
        _tick(warm)

    assert warm.run(execution.id).status is DagsterRunStatus.FAILURE
    assert warm.row(execution.id).state is LaunchState.ENDED
    [continued] = [run for run in warm.work_all() if run.tags["workflow_run_id"] == str(execution.id)]
    assert continued.status is DagsterRunStatus.SUCCESS
    assert warm.steps(continued) == STEPS[STEPS.index("provisioning_storage") :]
    assert systems.calls.count("organization") == 1


def _kill_at(dying: pytest.MonkeyPatch, owner: type, name: str, when: str) -> None:
    """From that moment on this process does nothing more, not even what Dagster does when a launch raises."""
    real, report = getattr(owner, name), DagsterInstance.report_run_failed
    dead: list[bool] = []

    def dies(*given: Any, **named: Any) -> Any:
        if when == "after":
            real(*given, **named)
        dead.append(True)
        raise Dies

    def reports(*given: Any, **named: Any) -> Any:
        if dead:
            raise Dies
        return report(*given, **named)

    dying.setattr(owner, name, dies)
    dying.setattr(DagsterInstance, "report_run_failed", reports)


def _tick(warm: WarmStage) -> None:
    workflow_guard(dg.build_sensor_context(instance=warm.instance, resources={"desk": warm.desk}))


# A rollback that is lost again and again


def test_a_rollback_that_loses_every_run_is_given_further_ones_more_and_more_slowly(
    warm: WarmStage, systems: Systems
) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    execution = warm.start(warm.tenant())
    warm.work()
    for _ in range(2):
        warm.lose()
        continue_lost_workers(warm.desk, by="waker")

    third = warm.lose()
    continue_lost_workers(warm.desk, by="waker")

    assert warm.launches.queued() == 0
    assert warm.row(third.run_id).state is LaunchState.ENDED
    assert warm.run(third.run_id).status is DagsterRunStatus.FAILURE
    assert warm.runs.state(third.run_id) is RunState.ENDED
    assert warm.execution(warm.run(execution.id)).run_id == third.run_id
