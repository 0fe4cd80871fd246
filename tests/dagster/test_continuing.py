"""Runs of a part of a job: continuations of ours, and the re-executions of Dagster's buttons."""

from collections.abc import Mapping, Sequence

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.state import KnownExecutionState

from tests.dagster.events import steps_with
from tests.dagster.toys import STEPS, TOY, carried_out, carry_out


def test_a_run_of_some_steps_carries_out_exactly_those(stored: DagsterInstance) -> None:
    first = carried_out(stored)

    run = carry_out(stored, _part_of(stored, first, ["second"], {}))

    assert run.step_keys_to_execute == ["second"]
    assert steps_with(stored, run.run_id, DagsterEventType.STEP_SUCCESS) == ["second"]
    assert run.status is DagsterRunStatus.SUCCESS


def test_root_and_parent_id_with_both_tags_group_the_runs(stored: DagsterInstance) -> None:
    first = carried_out(stored)
    tags = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id}

    second = _part_of(stored, first, ["second"], tags)

    assert _group(stored, first) == {first.run_id, second.run_id}


def test_root_and_parent_id_without_the_tags_group_nothing(stored: DagsterInstance) -> None:
    first = carried_out(stored)

    _part_of(stored, first, ["second"], {})

    assert len(_group(stored, first)) <= 1


def test_re_executing_from_failure_takes_the_failed_step_and_what_follows_and_none_before(
    stored: DagsterInstance,
) -> None:
    """Undone or not: why our ops ask the ledger before they act."""
    failed = carried_out(stored)

    steps, _ = KnownExecutionState.build_resume_retry_reexecution(stored, failed)

    assert failed.status is DagsterRunStatus.FAILURE
    assert sorted(steps) == sorted(STEPS[2:])


def test_a_cancelled_run_can_be_re_executed_from_failure(stored: DagsterInstance) -> None:
    failed = carried_out(stored)
    stored.report_run_canceled(failed)
    cancelled = stored.get_run_by_id(failed.run_id)
    assert cancelled is not None
    assert cancelled.status is DagsterRunStatus.CANCELED

    steps, _ = KnownExecutionState.build_resume_retry_reexecution(stored, cancelled)

    assert sorted(steps) == sorted(STEPS[2:])


def test_two_re_executions_of_one_run_are_both_accepted(stored: DagsterInstance) -> None:
    """The lock is ours to hold."""
    first = carried_out(stored)
    tags = {"dagster/root_run_id": first.run_id, "dagster/parent_run_id": first.run_id}

    runs = [_part_of(stored, first, STEPS, tags) for _ in range(2)]

    assert _group(stored, first) == {first.run_id, *(run.run_id for run in runs)}
    for run in runs:
        assert steps_with(stored, carry_out(stored, run).run_id, DagsterEventType.STEP_SUCCESS) == STEPS[:2]


def _part_of(instance: DagsterInstance, first: DagsterRun, steps: Sequence[str], tags: Mapping[str, str]) -> DagsterRun:
    plan = create_execution_plan(TOY, step_keys_to_execute=list(steps), instance_ref=instance.get_ref())
    return instance.create_run_for_job(
        TOY, execution_plan=plan, tags=tags, root_run_id=first.run_id, parent_run_id=first.run_id
    )


def _group(instance: DagsterInstance, run: DagsterRun) -> set[str]:
    group = instance.get_run_group(run.run_id)
    assert group is not None
    return {each.run_id for each in group[1]}
