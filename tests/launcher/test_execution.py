"""Carrying out one Dagster run in this process: what a worker makes of every way in which a run can be handed over."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.execution.api import create_execution_plan, execute_run_iterator

from tenant_pipelines.launcher import execution
from tenant_pipelines.launcher.interrupts import Interrupts
from tests.launcher import toys
from tests.runs.stage import instance_in_memory

JOBS = execution.jobs_of("tests.launcher.toys")


@pytest.fixture(scope="module")
def dagster_instance() -> Iterator[DagsterInstance]:
    with instance_in_memory({"run_monitoring": {"enabled": True}}) as made:
        yield made


def handed_over(
    instance: DagsterInstance, job: str, *, steps: list[str] | None = None, ops: list[str] | None = None
) -> DagsterRun:
    """A run as it is when a worker takes it."""
    definition = JOBS[job].get_subset(op_selection=ops) if ops else JOBS[job]
    plan = create_execution_plan(definition, step_keys_to_execute=steps) if steps else None
    run = instance.create_run_for_job(
        definition, execution_plan=plan, resolved_op_selection=frozenset(ops or ()) or None
    )
    instance.report_dagster_event(DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, job), run_id=run.run_id)
    return run


def carry_out(instance: DagsterInstance, run: DagsterRun) -> str:
    return execution.carry_out(instance, UUID(run.run_id), JOBS)


def status(instance: DagsterInstance, run: DagsterRun) -> DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def steps_of(instance: DagsterInstance, run: DagsterRun) -> list[str | None]:
    return [event.step_key for event in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_SUCCESS)]


def said(instance: DagsterInstance, run: DagsterRun) -> str:
    return "\n".join(f"{event.message} {event.dagster_event}" for event in instance.all_logs(run.run_id))


def test_a_run_ends_as_in_a_process_of_its_own(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick")

    assert carry_out(dagster_instance, run) == "success"

    assert status(dagster_instance, run) is DagsterRunStatus.SUCCESS
    assert steps_of(dagster_instance, run) == ["first", "second", "third"]


@pytest.mark.parametrize("job", ["failing", "broken"])
def test_a_run_that_fails_is_an_outcome_and_no_trouble(dagster_instance: DagsterInstance, job: str) -> None:
    run = handed_over(dagster_instance, job)

    assert carry_out(dagster_instance, run) == "failure"

    assert status(dagster_instance, run) is DagsterRunStatus.FAILURE
    assert "as told" in said(dagster_instance, run)


def test_only_the_steps_of_the_runs_plan_are_taken(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick", steps=["second", "third"])

    assert carry_out(dagster_instance, run) == "success"

    assert steps_of(dagster_instance, run) == ["second", "third"]


def test_only_the_ops_that_were_selected_are_taken(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick", ops=["first"])

    assert carry_out(dagster_instance, run) == "success"

    assert steps_of(dagster_instance, run) == ["first"]


def test_a_run_that_was_cancelled_before_is_not_begun(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick")
    dagster_instance.report_run_canceled(run)

    assert carry_out(dagster_instance, run) == "ignored"

    assert status(dagster_instance, run) is DagsterRunStatus.CANCELED
    assert steps_of(dagster_instance, run) == []


def test_a_run_that_is_over_is_not_begun_again(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick")
    carry_out(dagster_instance, run)

    assert carry_out(dagster_instance, run) == "ignored"

    assert steps_of(dagster_instance, run) == ["first", "second", "third"]


def test_a_run_that_dagster_does_not_know_is_nothing(dagster_instance: DagsterInstance) -> None:
    assert execution.carry_out(dagster_instance, uuid4(), JOBS) == "not_found"


def test_a_job_that_is_not_there_is_said_in_the_run(dagster_instance: DagsterInstance) -> None:
    run = handed_over(dagster_instance, "quick")

    assert execution.carry_out(dagster_instance, UUID(run.run_id), {"gated": JOBS["gated"]}) == "broken"

    assert status(dagster_instance, run) is DagsterRunStatus.FAILURE
    assert "The code location has no job 'quick'; it has gated." in said(dagster_instance, run)


def test_an_interrupt_of_a_run_that_is_being_cancelled_cancels_it(
    dagster_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = handed_over(dagster_instance, "gated")
    interrupts = Interrupts()
    interrupts.install()
    monkeypatch.setenv("TOYS_FOLDER", str(tmp_path))

    def interrupt(_: str) -> None:
        dagster_instance.report_run_canceling(run)
        interrupts.want(1)

    monkeypatch.setattr(toys, "_await", interrupt)
    with execution.capture_interrupts(), interrupts.holding(1):
        assert carry_out(dagster_instance, run) == "canceled"

    assert status(dagster_instance, run) is DagsterRunStatus.CANCELED


def test_an_interrupt_before_the_first_step_cancels_the_run_too(
    dagster_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = handed_over(dagster_instance, "quick")

    def interrupted(*_: object) -> Iterator[DagsterEvent]:
        dagster_instance.report_run_canceling(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute_run_iterator", interrupted)

    assert carry_out(dagster_instance, run) == "interrupted"

    assert status(dagster_instance, run) is DagsterRunStatus.CANCELED


def test_what_dagster_itself_raises_is_said_in_the_run(
    dagster_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = handed_over(dagster_instance, "quick")

    def raising(*_: object) -> Iterator[DagsterEvent]:
        raise RuntimeError("something in Dagster")

    monkeypatch.setattr(execution, "execute_run_iterator", raising)

    assert carry_out(dagster_instance, run) == "broken"

    assert status(dagster_instance, run) is DagsterRunStatus.FAILURE
    assert "something in Dagster" in said(dagster_instance, run)


def test_what_the_storage_raises_is_raised_so_that_the_run_counts_as_lost(
    dagster_instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = handed_over(dagster_instance, "quick")

    def away(*_: object, **__: object) -> None:
        raise OSError("the storage is away")

    monkeypatch.setattr(dagster_instance.event_log_storage, "store_event", away)

    with pytest.raises(OSError, match="the storage is away"):
        carry_out(dagster_instance, run)


def test_a_module_without_definitions_is_named() -> None:
    with pytest.raises(LookupError, match=r"module tests\.launcher\.pools holds no dagster\.Definitions"):
        execution.jobs_of("tests.launcher.pools")


# What is not public in Dagster

PRIVATE = [
    (node.module, alias.name)
    for node in ast.walk(ast.parse(inspect.getsource(execution)))
    if isinstance(node, ast.ImportFrom) and node.module and "._" in node.module
    for alias in node.names
]


@pytest.mark.parametrize(("module", "name"), PRIVATE)
def test_every_private_name_that_is_imported_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_the_private_names_take_what_they_are_given() -> None:
    assert [*inspect.signature(execute_run_iterator).parameters][:3] == ["job", "dagster_run", "instance"]
    assert {"run_id"} <= inspect.signature(DagsterInstance.get_run_by_id).parameters.keys()
    for method in ("report_run_canceled", "report_run_failed"):
        assert [*inspect.signature(getattr(DagsterInstance, method)).parameters][1:3] == ["dagster_run", "message"]
    assert [*inspect.signature(DagsterInstance.report_engine_event).parameters][1:4] == [
        "message",
        "dagster_run",
        "engine_event_data",
    ]
