"""Dagster's run monitoring over runs that wait in our queue: it must not fail, resume or complain about any."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import yaml  # type: ignore[import-untyped]
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from tests.launcher.warm_fixtures import systems, warm, warm_dagster, warm_settings
from tests.launcher.warm_stage import WarmStage

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]

WRITTEN = yaml.safe_load((Path(__file__).parents[2] / "dagster_home" / "dagster.yaml").read_text())["run_monitoring"]
A_YEAR = 365 * 24 * 3600.0


class Workspace:
    """As much of one as run monitoring asks for."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> None:
        return None


def monitor(warm: WarmStage) -> list[Any]:
    """One look at all runs; answers the errors that it would report."""
    workspace = cast("IWorkspaceProcessContext[Any]", Workspace(warm.instance))
    return [error for error in execute_run_monitoring_iteration(workspace, logging.getLogger("tests")) if error]


@contextmanager
def settings(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Iterator[None]:
    """Run monitoring as our dagster.yaml has it, a year later."""
    with monkeypatch.context() as patch:
        found = {**WRITTEN, **changed}
        patch.setattr(DagsterInstance, "run_monitoring_settings", property(lambda _: found))
        patch.setattr("dagster._daemon.monitoring.run_monitoring.get_current_timestamp", _a_year_from_now)
        yield


def _a_year_from_now() -> float:
    return time.time() + A_YEAR


def waiting(warm: WarmStage) -> DagsterRun:
    return warm.run(warm.start(warm.tenant()).id)


def test_a_run_that_has_waited_for_a_year_is_left_alone_without_a_complaint(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting(warm)

    with settings(monkeypatch):
        errors = monitor(warm)

    assert errors == []
    assert warm.run(run.run_id).status is DagsterRunStatus.QUEUED


@pytest.mark.parametrize(("limit", "becomes"), [(120, DagsterRunStatus.FAILURE), (0, DagsterRunStatus.STARTING)])
def test_a_run_that_is_starting_would_be_failed_or_complained_of(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch, limit: int, becomes: DagsterRunStatus
) -> None:
    """Why ours wait as QUEUED. Without a limit run monitoring reports an error for each run that is starting."""
    run = warm.by_hand()
    warm.instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_STARTING.value, run.job_name), run.run_id)

    with settings(monkeypatch, start_timeout_seconds=limit):
        errors = monitor(warm)

    assert bool(errors) is (limit == 0)
    assert warm.run(run.run_id).status is becomes


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_that_has_begun_is_left_to_the_ledger(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    run = waiting(warm)
    if lost:
        warm.lose(after="updating_status")
    else:
        warm.begin(warm.take())

    with settings(monkeypatch):
        errors = monitor(warm)

    assert errors == []
    assert warm.run(run.run_id).status is DagsterRunStatus.STARTED


def test_a_run_that_is_carried_out_by_nobody_and_belongs_to_nothing_is_failed(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = warm.by_hand()
    warm.instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, run.job_name), run.run_id)

    with settings(monkeypatch):
        monitor(warm)

    assert warm.run(run.run_id).status is DagsterRunStatus.FAILURE
