"""Retention's side of Dagster: runs and ticks that are old enough are deleted, on a real instance."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, TickData, TickStatus
from dagster._daemon.sensor import SensorLaunchContext
from dagster._scheduler.scheduler import _ScheduleLaunchContext
from dagster_shared.error import SerializableErrorInfo

from sensors.retention import DESK, retention_daily, retention_job
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.runs.old_runs import OldDagsterRuns
from tests.fakes.company import TESTER
from tests.runs.stage import Stage, instance_in_memory

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "dagster_home" / "dagster.yaml", ROOT / "deploy" / "kubernetes" / "dagster.yaml"]


@dg.op
def noisy(context: dg.OpExecutionContext) -> None:
    """Says something."""
    context.log.info("of ada@acme.example")


@dg.job(executor_def=dg.in_process_executor)
def plain() -> None:
    """A job that is none of ours."""
    noisy()


def ended_run(stage: Stage, tags: dict[str, str] | None = None) -> UUID:
    return UUID(plain.execute_in_process(instance=stage.instance, tags=tags).run_id)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def logs(stage: Stage, run_id: UUID) -> int:
    return len(stage.instance.all_logs(str(run_id)))


def test_runs_that_have_ended_come_oldest_first_page_by_page(stage: Stage) -> None:
    execution = stage.start(stage.tenant())  # queued
    tagged = ended_run(stage, {"workflow_run_id": str(execution.id)})
    others = [ended_run(stage, {"workflow_run_id": "anything"}), ended_run(stage)]
    old = OldDagsterRuns(stage.instance)

    first = old.ended(before=soon(), after=None, limit=2)
    second = old.ended(before=soon(), after=first[-1].id, limit=2)

    assert [run.id for run in (*first, *second)] == [tagged, *others]
    assert [run.execution_id for run in (*first, *second)] == [execution.id, None, None]
    assert all(abs(run.ended_at - datetime.now(UTC)) < timedelta(minutes=1) for run in first)
    assert old.ended(before=datetime.now(UTC) - timedelta(minutes=1), after=None, limit=2) == []


def test_a_deleted_run_leaves_no_event_and_others_keep_theirs(stage: Stage) -> None:
    gone, kept = ended_run(stage), ended_run(stage)
    before = logs(stage, kept)
    assert logs(stage, gone) == before > 0

    for _ in range(2):
        OldDagsterRuns(stage.instance).delete(gone)

    assert stage.instance.get_run_by_id(str(gone)) is None
    assert (logs(stage, gone), logs(stage, kept)) == (0, before)


def test_a_deletion_that_was_killed_is_found_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's own order, the run first, would leave its events for ever: no page has the run any more."""
    run = ended_run(stage)
    old = OldDagsterRuns(stage.instance)
    for killed_at in ("delete_run", "event_log_storage"):
        with monkeypatch.context() as dying:
            dying.setattr(type(stage.instance), killed_at, property(lambda _: pytest.fail("killed")))
            with pytest.raises(pytest.fail.Exception):
                old.delete(run)
        assert [found.id for found in old.ended(before=soon(), after=None, limit=9)] == [run]

    old.delete(run)

    assert logs(stage, run) == 0


def test_captured_output_goes_with_its_run(stage: Stage) -> None:
    run = ended_run(stage)
    manager = stage.instance.compute_log_manager
    [captured] = stage.instance.all_logs(str(run), of_type=DagsterEventType.LOGS_CAPTURED)
    key = [str(run), "compute_logs", captured.get_dagster_event().logs_captured_data.file_key]
    assert b"ada@acme.example" in (manager.get_log_data(key).stderr or b"")

    OldDagsterRuns(stage.instance).delete(run)

    assert not manager.get_log_data(key).stderr


def carried_out(stage: Stage) -> DagsterRun:
    """The retention job, as its schedule would launch it."""
    job = dg.Definitions(jobs=[retention_job()], resources={DESK: stage.desk}).resolve_job_def("retention")
    result = job.execute_in_process(instance=stage.instance, raise_on_error=False)
    return stage.run(result.run_id)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    """Nothing is kept."""
    for what in ("dagster_runs", "executions", "personal_data", "archive", "launches"):
        monkeypatch.setenv(f"TENANT_PIPELINES_KEEP_{what.upper()}", "0.001")


@pytest.mark.usefixtures("short")
def test_the_job_removes_what_is_old_and_leaves_what_runs(stage: Stage) -> None:
    first = stage.tenant("first", plan="free")
    execution = stage.start(first)
    [run] = stage.carry_out_queue()  # waits for the app plane: its Dagster run has ended, the workflow has not
    assert run.status is DagsterRunStatus.SUCCESS
    closed = stage.start(stage.tenant("second", plan="free"))
    stage.carry_out_queue()
    signal(stage.desk, closed.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    refused = stage.launch_by_hand(first.id)

    retention = carried_out(stage)

    assert retention.status is DagsterRunStatus.SUCCESS
    assert {UUID(one.run_id) for one in stage.instance.get_runs()} == {execution.id, UUID(retention.run_id)}
    assert refused.run_id not in {one.run_id for one in stage.instance.get_runs()}
    assert stage.execution(run).state is State.FORWARD
    shown = dict(stage.shown(retention)["purge"])
    assert float(shown.pop("seconds")) < 30
    assert shown == {"dagsterRuns": "2", "finished": "True"}
    assert _audit(stage) == [
        ("schedule retention_daily", "schedule", outcome, retention.run_id, {"dagsterRuns": 2})
        for outcome in ("begun", "done")
    ]


def _audit(stage: Stage) -> list[tuple[Any, ...]]:
    with stage.database._pool.connection() as connection:
        rows = connection.execute(
            "select performed_by, source, outcome, request_id, changes from engine.operator_actions"
            " where action = 'purge' order by id"
        ).fetchall()
    return [tuple(row.values()) for row in rows]


@pytest.mark.usefixtures("short")
def test_a_job_that_could_not_do_everything_fails_and_says_what(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended_run(stage)

    def refuse(_: object, **__: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as away:
        away.setattr(type(stage.instance.compute_log_manager), "delete_logs", refuse)
        failed = carried_out(stage)

    assert failed.status is DagsterRunStatus.FAILURE
    assert f"Dagster run {run}: ConnectionError" in stage.said(failed)
    assert stage.instance.get_run_by_id(str(run)) is not None


def test_with_the_settings_as_they_come_nothing_is_removed_the_same_day(stage: Stage) -> None:
    run = ended_run(stage)

    assert carried_out(stage).status is DagsterRunStatus.SUCCESS

    assert stage.instance.get_run_by_id(str(run)) is not None
    assert _audit(stage) == []


def test_the_schedule_is_there_runs_by_itself_and_once_a_day() -> None:
    definitions = dg.Definitions(jobs=[retention_job()], schedules=[retention_daily], resources={DESK: object()})
    schedule = definitions.get_repository_def().get_schedule_def("retention_daily")

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("17 3 * * *", "UTC")
    assert schedule.job_name == "retention"
    tick = dg.build_schedule_context(scheduled_execution_time=datetime(2030, 1, 1, 3, 17, tzinfo=UTC))
    requests = schedule.evaluate_tick(tick).run_requests
    assert requests is not None
    assert len(requests) == 1
    dg.validate_run_config(definitions.resolve_job_def("retention"), {})


# Ticks: Dagster's own retention, by dagster.yaml


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("kind", ["sensor", "schedule"])
def test_dagster_deletes_old_ticks_at_each_tick(file: Path, kind: str) -> None:
    written = yaml.safe_load(file.read_text())["retention"]
    with instance_in_memory({"retention": written}) as instance:
        for name in ("ours", "other"):
            for status in TickStatus:
                for days in (0.5, 2, 8, 31):
                    _add_tick(instance, kind, name, status, days)

        _tick(instance, kind, "ours")

        assert _days(instance, "ours") == {
            "SKIPPED": [0.5],
            "STARTED": [0.5, 2],
            "SUCCESS": [0.5, 2],
            "FAILURE": [0.5, 2, 8],
        }
        assert _days(instance, "other") == {status.value: [0.5, 2, 8, 31] for status in TickStatus}


def _add_tick(instance: DagsterInstance, kind: str, name: str, status: TickStatus, days: float) -> InstigatorTick:
    at = datetime.now(UTC) - timedelta(days=days)
    return instance.create_tick(
        TickData(
            instigator_origin_id=name,
            instigator_name=name,
            instigator_type=InstigatorType(kind.upper()),
            status=status,
            timestamp=at.timestamp(),
            selector_id=name,
            run_ids=["a run"] if status is TickStatus.SUCCESS else [],
            error=SerializableErrorInfo("no", [], None) if status is TickStatus.FAILURE else None,
        )
    )


def _tick(instance: DagsterInstance, kind: str, name: str) -> None:
    """What the daemon does around each tick of a sensor or a schedule."""
    tick = _add_tick(instance, kind, name, TickStatus.STARTED, 0)
    remote: Any = SimpleNamespace(get_remote_origin_id=lambda: name, selector_id=name, sensor_type=None)
    context = SensorLaunchContext if kind == "sensor" else _ScheduleLaunchContext
    settings = instance.get_tick_retention_settings(InstigatorType(kind.upper()))
    with context(remote, tick, instance, logging.getLogger(str(uuid4())), settings):
        pass


def _days(instance: DagsterInstance, name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {status.value: [] for status in TickStatus}
    for tick in instance.get_ticks(name, name):
        days = (datetime.now(UTC).timestamp() - tick.timestamp) / 86400
        if days > 0.1:  # not the one that has just been
            found[tick.status.value].append(round(days, 1))
    return {status: sorted(days) for status, days in found.items()}
