"""Dagster's executor for our jobs: steps one after the other in the run's own process, without what they do not need.

It tells the same events as Dagster's own `in_process` executor, but for one: no hook is asked where no step has failed,
and so none says that it was skipped. What Dagster does around an op (inputs, type checks, IO managers) is left out
where inputs and outputs carry no values, as ours never do. See docs/adr/0011-steps-are-taken-in-turn.md.

Private names of Dagster are used here; tests/runs/test_private_names.py holds them to the installed release.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from dagster import DagsterEvent, Executor, InitExecutorContext, OpExecutionContext, Output, executor
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.errors import DagsterExecutionStepExecutionError, DagsterInvariantViolationError
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.compute import enter_execution_context
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext, StepExecutionContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import _trigger_hook, dagster_event_sequence_for_step
from dagster._core.execution.plan.objects import StepSuccessData, TypeCheckData
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.utils import op_execution_error_boundary
from dagster._core.execution.retries import RetryMode
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.timing import time_execution_scope

Events = Iterator[DagsterEvent]


class InTurn(Executor):
    """Takes a run's steps in turn. For jobs whose hooks are failure hooks, and whose ops share no pool with others."""

    @property
    def retries(self) -> RetryMode:
        """None by Dagster: the engine makes the attempts."""
        return RetryMode.DISABLED

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Events:
        """Resources, then the steps, then the resources' end."""
        here = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        yield DagsterEvent.engine_event(plan_context, f"Taking steps in turn (pid: {os.getpid()})", here)
        yield from iter(ExecuteRunWithPlanIterable(execution_plan, _captured, self._with_resources(plan_context)))
        yield DagsterEvent.engine_event(plan_context, f"No more steps to take (pid: {os.getpid()})", here)

    def _with_resources(self, plan: PlanOrchestrationContext) -> PlanExecutionContextManager:
        return PlanExecutionContextManager(
            job=plan.job,
            execution_plan=plan.execution_plan,
            run_config=plan.run_config,
            dagster_run=plan.dagster_run,
            instance=plan.instance,
            retry_mode=plan.retry_mode,
            raise_on_error=plan.raise_on_error,
            output_capture=plan.output_capture,
            step_dependency_config=self.step_dependency_config,
        )


@executor(name="in_turn")
def in_turn(_: InitExecutorContext) -> Executor:
    """The one of our jobs."""
    return InTurn()


def _captured(job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Events:
    """All steps, while what the process prints is kept as the run's output; they are taken even where it cannot be."""
    logs = job_context.instance.compute_log_manager
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    log_key = logs.build_log_key_for_run(job_context.run_id, create_compute_log_file_key())  # type: ignore[no-untyped-call]
    with ExitStack() as capturing:
        try:
            captured = capturing.enter_context(logs.capture_logs(log_key))
            yield DagsterEvent.capture_logs(job_context, keys, log_key, captured)
        except Exception:
            yield _not_captured(job_context)
        yield from _steps(job_context, execution_plan)
        try:
            capturing.close()
        except Exception:
            yield _not_captured(job_context)


def _not_captured(job_context: PlanExecutionContext) -> DagsterEvent:
    why = EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info()))
    return DagsterEvent.engine_event(job_context, "What the run prints cannot be kept", why)


def _steps(job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Events:
    dependencies = job_context.step_dependency_config
    with execution_plan.start(job_context.retry_mode, step_dependency_config=dependencies) as active:
        while not active.is_complete:
            step = active.get_next_step()
            if step is None:
                raise DagsterInvariantViolationError("no step can be taken, though some are left")
            context = job_context.for_step(step, active.get_known_state())
            if _carries_no_values(context):
                context._step_launcher = _PLAINLY  # type: ignore[assignment]  # noqa: SLF001
            told: list[DagsterEvent] = []
            for event in dagster_event_sequence_for_step(context):
                told.append(event)
                yield event
                active.handle_event(event)
            active.verify_complete(job_context, step.key)
            for event in active.plan_events_iterator(job_context):  # who is skipped now
                told.append(event)
                yield event
            if any(event.is_step_failure for event in told):
                yield from _trigger_hook(context, told)


def _carries_no_values(context: StepExecutionContext) -> bool:
    op = context.op_def
    return (
        isinstance(op.compute_fn, DecoratedOpFunction)
        and inspect.isgeneratorfunction(op.compute_fn.decorated_fn)
        and all(one.dagster_type.is_nothing for one in op.input_defs)
        and all(one.dagster_type.is_nothing and not one.is_required for one in op.output_defs)
    )


class _Plainly:
    """What a step comes to whose op is given no values and answers none; Dagster makes events of what it raises.

    It stands where a `StepLauncher` does, which cannot be inherited from without a warning.
    """

    def launch_step(self, step_context: StepExecutionContext) -> Events:
        """Its start, what it answers, its success.

        Raises: DagsterInvariantViolationError for an answer that is no Output; whatever the op raises.
        """
        yield DagsterEvent.step_start_event(step_context)
        with time_execution_scope() as timer:
            answers = _answers(step_context)
        for answer in answers:
            handle = StepOutputHandle(step_context.step.key, answer.output_name)
            data = StepOutputData(handle, _checked(answer.output_name), metadata=answer.metadata)
            yield DagsterEvent.step_output_event(step_context, data)
        yield DagsterEvent.step_success_event(step_context, StepSuccessData(timer.millis))  # type: ignore[no-untyped-call]


_PLAINLY = _Plainly()


def _answers(context: StepExecutionContext) -> list[Output[None]]:
    """What the op answers until its end. An interrupt is raised within it, and nowhere else in a step."""
    with (
        enter_execution_context(context) as op_context,
        op_execution_error_boundary(
            DagsterExecutionStepExecutionError,
            msg_fn=lambda: f"Error occurred while executing {context.describe_op()}:",
            step_context=context,
            step_key=context.step.key,
            op_def_name=context.op_def.name,
            op_name=context.op.name,
        ),
    ):
        answers = list(_function_of(context)(op_context))
    told_beside = isinstance(op_context, OpExecutionContext) and op_context.has_events()
    if told_beside or not all(isinstance(answer, Output) for answer in answers):
        raise DagsterInvariantViolationError(f"{context.describe_op()} tells more than its outputs, which is not kept")
    return answers


def _function_of(context: StepExecutionContext) -> Callable[..., Iterator[Any]]:
    function: Callable[..., Iterator[Any]] = context.op_def.compute_fn.decorated_fn  # type: ignore[union-attr]
    return function


def _checked(label: str) -> TypeCheckData:
    """Nothing is always of the right type."""
    return TypeCheckData(success=True, label=label)  # type: ignore[no-untyped-call]
