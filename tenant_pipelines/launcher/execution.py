"""Carries out one Dagster run in this process, as `dagster api execute_run` does it in a new one.

Private names of Dagster are used here; tests/launcher/test_execution.py holds them to the installed release.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from uuid import UUID

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    JobDefinition,
    in_process_executor,
    job,
    op,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events import EngineEventData
from dagster._core.execution.api import execute_run_iterator
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts

NOT_FOUND = "not_found"
IGNORED = "ignored"
"""The run was over before it was begun, or had been begun already."""
INTERRUPTED = "interrupted"
BROKEN = "broken"
"""Dagster itself has failed, or the job could not be begun; the run says why."""

_OUTCOMES: Mapping[DagsterEventType, str] = {
    DagsterEventType.RUN_SUCCESS: "success",
    DagsterEventType.RUN_FAILURE: "failure",
    DagsterEventType.RUN_CANCELED: "canceled",
}

__all__ = ["capture_interrupts", "carry_out", "carry_out_nothing", "jobs_of", "refuse"]


@cache
def jobs_of(definitions: str) -> Mapping[str, JobDefinition]:
    """Every job of the one `Definitions` in that module, bound to its resources; resolved once.

    Raises: whatever the module raises; LookupError when it holds none.
    """
    module = importlib.import_module(definitions)
    found = next((value for value in vars(module).values() if isinstance(value, Definitions)), None)
    if found is None:
        raise LookupError(f"module {definitions} holds no dagster.Definitions")
    return {one.name: one for one in found.resolve_all_job_defs()}


def carry_out(instance: DagsterInstance, run_id: UUID, jobs: Mapping[str, JobDefinition]) -> str:
    """Carry out the run, which is over in Dagster afterwards; answers its outcome in a word.

    Raises: what Dagster's storage raises; then the run may not be over.
    """
    run = instance.get_run_by_id(str(run_id))
    if run is None:
        return NOT_FOUND
    definition = jobs.get(run.job_name)
    if definition is None:
        return refuse(instance, run_id, f"The code location has no job {run.job_name!r}; it has {', '.join(jobs)}.")
    if run.status is DagsterRunStatus.CANCELING:  # since it was taken; Dagster would leave it like that
        _see_that_it_is_over(instance, run_id, "It was terminated before its first step.")
        return INTERRUPTED
    if run.status is DagsterRunStatus.QUEUED:  # as the launcher has it while it waits; Dagster begins no such run
        run = run.with_status(DagsterRunStatus.STARTING)
    outcome = IGNORED
    try:
        with _closed(execute_run_iterator(InMemoryJob(definition), run, instance)) as events:
            for event in events:
                outcome = _OUTCOMES.get(event.event_type, outcome)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        _see_that_it_is_over(instance, run_id, "The run was interrupted before its first step or after its last.")
        return INTERRUPTED
    except Exception:
        error = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
        instance.report_engine_event("Dagster itself has failed, not a step.", run, error)
        _see_that_it_is_over(instance, run_id, "Dagster itself has failed; see the event before.")
        return BROKEN
    return outcome


def carry_out_nothing(instance: DagsterInstance) -> str:
    """Carry out a run that does nothing: what Dagster imports and keeps for the first run is there afterwards."""

    @op(name="nothing")
    def nothing() -> None:
        pass

    @job(name="nothing_at_all", executor_def=in_process_executor, logger_defs={})
    def nothing_at_all() -> None:
        nothing()

    run = instance.create_run_for_job(nothing_at_all)
    return carry_out(instance, UUID(run.run_id), {nothing_at_all.name: nothing_at_all})


def refuse(instance: DagsterInstance, run_id: UUID, why: str) -> str:
    """End a run that cannot be begun, with the reason where people look for it."""
    _see_that_it_is_over(instance, run_id, why)
    return BROKEN


def _see_that_it_is_over(instance: DagsterInstance, run_id: UUID, why: str) -> None:
    run = instance.get_run_by_id(str(run_id))
    if run is None or run.is_finished:
        return
    if run.status is DagsterRunStatus.CANCELING:  # it did end because it was told to: that is a cancel, no failure
        instance.report_run_canceled(run, why)
    else:
        instance.report_run_failed(run, why)


@contextmanager
def _closed(events: Iterator[DagsterEvent]) -> Iterator[Iterator[DagsterEvent]]:
    """Dagster's clean-up happens when the generator is closed, and must not wait for a garbage collection."""
    try:
        yield events
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()
