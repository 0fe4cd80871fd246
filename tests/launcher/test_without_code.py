"""What the runs that wait say while no worker has a code location."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from tenant_pipelines.launcher.without_code import tell_waiting
from tenant_pipelines.ledger.launches import LaunchState
from tests.launcher.warm_fixtures import systems, warm, warm_dagster, warm_settings
from tests.launcher.warm_stage import WarmStage

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]

REASON = "code location some.module cannot be imported: SyntaxError: invalid syntax (module.py, line 7)"


def events(instance: DagsterInstance, run: DagsterRun) -> list[str]:
    return [entry.message for entry in instance.all_logs(run.run_id) if REASON in entry.message]


def test_each_run_that_waits_and_its_workflow_say_why_and_lose_nothing(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    by_hand = warm.by_hand()
    warm.instance.submit_run(by_hand.run_id, None)  # type: ignore[arg-type]  # the coordinator does not ask

    for _ in range(3):
        tell_waiting(warm.instance, warm.launches, REASON)

    first = warm.run(execution.id)
    assert [len(events(warm.instance, run)) for run in (first, by_hand)] == [1, 1]
    assert "mend the code" in events(warm.instance, first)[0]
    assert warm.execution(first).message == f"Waiting for a worker: {REASON}"
    assert first.status is DagsterRunStatus.QUEUED
    assert warm.row(first.run_id).state is LaunchState.QUEUED
    ended = warm.work_all()
    assert [run.status for run in ended] == [DagsterRunStatus.SUCCESS] * 2
    after = warm.execution(first)
    assert after.losses == 0
    assert REASON not in (after.message or "")


def test_workers_that_look_at_once_tell_it_once(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())

    with ThreadPoolExecutor(6) as threads:
        for looked in [threads.submit(tell_waiting, warm.instance, warm.launches, REASON) for _ in range(12)]:
            looked.result(timeout=60)

    assert len(events(warm.instance, warm.run(execution.id))) == 1


def test_another_reason_is_told_as_well_and_at_no_length(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    tell_waiting(warm.instance, warm.launches, REASON)

    tell_waiting(warm.instance, warm.launches, "x" * 5000)

    first = warm.run(execution.id)
    assert len(events(warm.instance, first)) == 1
    assert len(warm.execution(first).message or "") == 500


@pytest.mark.parametrize("state", ["taken", "lost"])
def test_what_somebody_has_taken_is_left_alone(warm: WarmStage, state: str) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.take()
    if state == "lost":
        warm.launches.give_up(lease)

    tell_waiting(warm.instance, warm.launches, REASON)

    assert events(warm.instance, warm.run(execution.id)) == []
    assert warm.execution(warm.run(execution.id)).message == execution.message


def test_a_run_that_dagster_has_forgotten_holds_up_no_other(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    with psycopg.connect(warm.given.database_url.get_secret_value()) as connection:
        connection.execute(
            "insert into engine.launches (run_id, job, queued_at)"
            " values (gen_random_uuid(), 'j', now() - interval '1 hour')"
        )

    tell_waiting(warm.instance, warm.launches, REASON)

    assert len(events(warm.instance, warm.run(execution.id))) == 1
