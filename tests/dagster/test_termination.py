"""Terminating: what an op that meddles with the interrupt does to it, and what the status is worth."""

import inspect

import dagster as dg
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.api import execute_run_iterator
from dagster_graphql import DagsterGraphQLClient

from tests.dagster.events import steps_with
from tests.dagster.toys import TOY, code_origin, remote_origin


def test_a_retry_policy_turns_an_interrupt_into_a_retry_and_the_cancel_is_lost(instance: DagsterInstance) -> None:
    """Why no op of ours has one."""
    tries: list[int] = []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
    def interrupted_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise DagsterExecutionInterruptedError

    run = _run(instance, interrupted_once)

    assert len(tries) == 2
    assert run.status is DagsterRunStatus.SUCCESS


def test_an_op_that_swallows_the_interrupt_ends_in_success(instance: DagsterInstance) -> None:
    @dg.op
    def deaf() -> None:
        try:
            raise DagsterExecutionInterruptedError
        except BaseException:
            pass

    assert _run(instance, deaf).status is DagsterRunStatus.SUCCESS


def test_an_interrupt_is_no_exception_so_except_exception_lets_it_pass() -> None:
    assert not issubclass(DagsterExecutionInterruptedError, Exception)


def test_a_run_marked_cancelled_by_force_goes_on_and_can_end_in_success(instance: DagsterInstance) -> None:
    """Hence the outcome comes from our own table (dagster issue 34175)."""
    seen: list[DagsterRunStatus] = []

    @dg.op
    def goes_on(context: dg.OpExecutionContext) -> None:
        run = context.instance.get_run_by_id(context.run_id)
        assert run is not None
        context.instance.report_run_canceled(run)
        after = context.instance.get_run_by_id(context.run_id)
        assert after is not None
        seen.append(after.status)

    run = _run(instance, goes_on)

    assert seen == [DagsterRunStatus.CANCELED]
    assert run.status is DagsterRunStatus.SUCCESS
    assert steps_with(instance, run.run_id, DagsterEventType.STEP_SUCCESS) == ["goes_on"]


def test_a_queued_run_is_cancelled_at_once(queueing: DagsterInstance) -> None:
    run = queueing.create_run_for_job(
        TOY, remote_job_origin=remote_origin(TOY.name), job_code_origin=code_origin(TOY.name)
    )
    queueing.submit_run(run.run_id, None)  # type: ignore[arg-type]

    assert queueing.run_coordinator.cancel_run(run.run_id)

    assert queueing.get_run_by_id(run.run_id).status is DagsterRunStatus.CANCELED  # type: ignore[union-attr]


def test_a_worker_refuses_a_run_that_was_cancelled_before_it_could_start(stored: DagsterInstance) -> None:
    run = stored.create_run_for_job(TOY)
    stored.report_run_canceled(run)
    cancelled = stored.get_run_by_id(run.run_id)
    assert cancelled is not None

    list(execute_run_iterator(InMemoryJob(TOY), cancelled, stored))

    assert steps_with(stored, run.run_id, DagsterEventType.STEP_START) == []
    assert stored.get_run_by_id(run.run_id).status is DagsterRunStatus.CANCELED  # type: ignore[union-attr]


def test_the_public_client_cannot_choose_how_a_run_is_terminated() -> None:
    """Hence the raw mutation, wherever a run is to be terminated over GraphQL."""
    assert list(inspect.signature(DagsterGraphQLClient.terminate_run).parameters) == ["self", "run_id"]


def _run(instance: DagsterInstance, op: dg.OpDefinition) -> dg.DagsterRun:
    @dg.job(executor_def=dg.in_process_executor)
    def terminated() -> None:
        op()

    result = terminated.execute_in_process(instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run
