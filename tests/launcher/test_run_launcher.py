"""The run launcher: a row and nothing else; terminating; what run monitoring is told."""

import subprocess
import sys
from uuid import UUID, uuid4

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.dagster_run import CANCELABLE_RUN_STATUSES
from dagster._serdes import ConfigurableClassData

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.launcher.run_launcher import WAITS, WarmRunLauncher
from tenant_pipelines.ledger.launches import Launches, LaunchState
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.runs import RunState
from tests.launcher.warm_fixtures import systems, warm, warm_dagster, warm_settings
from tests.launcher.warm_stage import POOL, WarmStage

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]


def launcher(warm: WarmStage) -> WarmRunLauncher:
    found = warm.instance.run_launcher
    assert isinstance(found, WarmRunLauncher)
    return found


def said(warm: WarmStage, run_id: UUID | str, kind: DagsterEventType) -> list[str]:
    return [
        record.dagster_event.message or ""
        for record in warm.instance.all_logs(str(run_id), of_type=kind)
        if record.dagster_event
    ]


# Launching


def test_a_launch_is_a_row_and_an_event_that_says_so(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())

    row = warm.row(execution.id)
    assert (row.state, row.job) == (LaunchState.QUEUED, "provision_tenant")
    assert warm.run(execution.id).status is DagsterRunStatus.QUEUED
    assert said(warm, execution.id, DagsterEventType.RUN_ENQUEUED) == [WAITS]


def test_a_launch_that_is_repeated_stays_one_row(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.take()

    warm.instance.launch_run(str(execution.id), None)  # type: ignore[arg-type]

    assert warm.row(execution.id).lease == lease.number
    assert warm.launches.queued() == 0


def test_a_run_taken_from_the_queue_is_carried_out_to_its_end(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())

    run = warm.work()

    assert run.status is DagsterRunStatus.SUCCESS
    assert warm.execution(run).waiting_until is not None
    assert warm.row(execution.id).state is LaunchState.ENDED


@pytest.mark.parametrize(("owner", "name"), [(WarmRunLauncher, "launch_run"), (Launches, "add")])
def test_whoever_dies_between_dagster_and_the_row_is_made_up_for(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(owner, name, lambda *_: None)
        execution = warm.start(warm.tenant())
    assert warm.run(execution.id).status in {DagsterRunStatus.STARTING, DagsterRunStatus.QUEUED}
    assert warm.runs.state(execution.id) is RunState.MISSING

    assert reconcile(warm.desk, execution, by="guard") is Push.LAUNCH

    assert warm.row(execution.id).state is LaunchState.QUEUED
    assert warm.runs.state(execution.id) is RunState.ALIVE


def test_a_full_queue_refuses_what_nobody_has_recorded_and_says_when_to_come_back(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = warm.by_hand()
    monkeypatch.setenv("TENANT_PIPELINES_WORKER_QUEUE_LIMIT", "2")
    for _ in range(2):
        warm.launches.add(uuid4(), "provision_tenant")

    with pytest.raises(Refused, match=r"As many runs wait .*(2).* Try again in \d+ s") as refused:
        warm.instance.submit_run(run.run_id, None)  # type: ignore[arg-type]

    assert refused.value.code is Code.UNAVAILABLE
    assert warm.launches.of(UUID(run.run_id)) is None
    assert warm.run(run.run_id).status is DagsterRunStatus.FAILURE


def test_a_full_queue_takes_what_the_ledger_has_recorded(warm: WarmStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT_PIPELINES_WORKER_QUEUE_LIMIT", "1")
    warm.launches.add(uuid4(), "provision_tenant")

    execution = warm.start(warm.tenant())

    assert warm.row(execution.id).state is LaunchState.QUEUED


def test_a_url_that_is_written_out_is_refused_without_being_repeated(warm_dagster: DagsterInstance) -> None:
    config = "database_url: postgresql://control_plane:fake-secret@127.0.0.1/arc_saas\n"
    data = ConfigurableClassData("tenant_pipelines.launcher.run_launcher", "WarmRunLauncher", config)

    with pytest.raises(ValueError, match="written out") as refused:
        data.rehydrate(as_type=WarmRunLauncher)

    assert "fake-secret" not in str(refused.value)


def test_the_url_shows_nowhere_in_what_dagster_says_of_its_instance(warm: WarmStage) -> None:
    shown = warm.instance.info_str() + repr(launcher(warm).inst_data)

    assert "TENANT_PIPELINES_DATABASE_URL" in shown
    assert warm.given.database_url.get_secret_value() not in shown


def test_the_launcher_loads_no_definitions() -> None:
    look = (
        "import sys, tenant_pipelines.launcher.run_launcher\n"
        "print([name for name in sys.modules if name.startswith(('tenant_pipelines.provisioning', 'resources', "
        "'tenant_pipelines.definitions', 'boto3', 'kubernetes'))])"
    )

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_daemon_has_no_queue_of_its_own_beside_ours(warm: WarmStage) -> None:
    assert "QUEUED_RUN_COORDINATOR" not in warm.instance.get_required_daemon_types()


# Terminating


def test_dagster_lets_a_run_be_terminated_while_it_waits_and_while_it_runs(warm: WarmStage) -> None:
    """It refuses that for a run that is STARTING, which is what it calls a run that was launched."""
    execution = warm.start(warm.tenant())
    seen = [warm.run(execution.id).is_cancelable]
    seen.append(warm.begin(warm.take()).is_cancelable)

    assert seen == [True, True]
    assert DagsterRunStatus.STARTING not in CANCELABLE_RUN_STATUSES


def test_a_run_that_waits_is_cancelled_at_once_and_so_is_its_workflow(warm: WarmStage) -> None:
    tenant = warm.tenant()
    execution = warm.start(tenant)

    assert warm.instance.run_coordinator.cancel_run(str(execution.id))

    assert warm.run(execution.id).status is DagsterRunStatus.CANCELED
    assert warm.launches.queued() == 0
    assert reconcile(warm.desk, execution, by="guard") is Push.CANCEL
    warm.work_all()
    assert warm.ledger.tenant(tenant.id).status is Status.PROVISION_CANCELLED


def test_a_run_that_a_worker_has_is_asked_to_end(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.take()
    warm.begin(lease)

    assert launcher(warm).terminate(str(execution.id))

    assert warm.run(execution.id).status is DagsterRunStatus.CANCELING
    assert [row.run_id for row in warm.launches.wished()] == [execution.id]
    assert warm.runs.state(execution.id) is RunState.ALIVE


def test_a_run_that_has_ended_cannot_be_terminated(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.work()

    assert not launcher(warm).terminate(str(execution.id))

    assert warm.run(execution.id).status is DagsterRunStatus.SUCCESS


def test_a_run_that_nobody_has_handed_over_cannot_be_terminated(warm: WarmStage) -> None:
    run = warm.by_hand()

    assert not launcher(warm).terminate(run.run_id)
    assert not launcher(warm).terminate(str(uuid4()))

    assert warm.run(run.run_id).status is DagsterRunStatus.NOT_STARTED


def test_a_run_that_ends_while_it_is_being_terminated_does_not_stay_canceling(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.take()
    wish = Launches.wish_interrupt

    def ends_first(self: Launches, run_id: UUID) -> object:
        warm.launches.end(lease, "success")
        return wish(self, run_id)

    monkeypatch.setattr(Launches, "wish_interrupt", ends_first)

    assert launcher(warm).terminate(str(execution.id))

    assert warm.run(execution.id).status is DagsterRunStatus.CANCELED


def test_a_lost_run_that_is_terminated_is_a_cancel(warm: WarmStage) -> None:
    tenant = warm.tenant()
    execution = warm.start(tenant)
    warm.lose(after="provisioning_database")

    assert launcher(warm).terminate(str(execution.id))

    assert warm.runs.state(execution.id) is RunState.CANCELLED


# Run monitoring


def test_run_monitoring_is_told_that_a_run_is_well_as_long_as_its_execution_is_open(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    run = warm.run(execution.id)
    seen = [launcher(warm).check_run_worker_health(run).status]
    warm.lose(after="updating_status")
    seen.append(launcher(warm).check_run_worker_health(run).status)
    warm.launches.settle_lost(execution.id)
    seen.append(launcher(warm).check_run_worker_health(run).status)

    assert seen == [WorkerStatus.RUNNING] * 3


def test_run_monitoring_is_told_of_a_run_without_an_execution_by_its_row(warm: WarmStage) -> None:
    run = warm.by_hand()
    run_id, seen = UUID(run.run_id), [launcher(warm).check_run_worker_health(run).status]
    warm.launches.add(run_id, "provision_tenant")
    seen.append(launcher(warm).check_run_worker_health(run).status)
    lease = warm.take(pid=12)
    seen.append(launcher(warm).check_run_worker_health(run).status)
    assert f"worker 12 of pool {POOL} under lease {lease.number}" in str(launcher(warm).get_run_worker_debug_info(run))
    warm.launches.give_up(lease)
    seen.append(launcher(warm).check_run_worker_health(run).status)
    warm.launches.settle_lost(run_id)
    seen.append(launcher(warm).check_run_worker_health(run).status)

    assert seen == [WorkerStatus.NOT_FOUND, *[WorkerStatus.RUNNING] * 3, WorkerStatus.SUCCESS]


def test_run_monitoring_is_told_of_a_run_whose_execution_is_closed_by_its_row(warm: WarmStage) -> None:
    run = warm.run(warm.start(warm.tenant()).id)
    warm.work()
    closed = warm.ledger.expire_confirmation(warm.execution(run), warm.desk.provisioning.last.name)
    assert closed is not None

    assert launcher(warm).check_run_worker_health(run).status is WorkerStatus.SUCCESS


def test_dagster_is_told_that_we_watch_and_that_it_must_not_resume(warm: WarmStage) -> None:
    assert launcher(warm).supports_check_run_worker_health
    assert not launcher(warm).supports_resume_run
