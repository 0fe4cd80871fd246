"""Our executor beside Dagster's own one in a process: the same story, without the hooks that had nothing to do."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterInstance, DagsterRunStatus, EventLogEntry, ExecutorDefinition, JobDefinition
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster_shared.error import SerializableErrorInfo

from tenant_pipelines.provisioning.in_turn import in_turn

STOCK = dg.in_process_executor
Body = Callable[[dg.OpExecutionContext], object]
Told = list[tuple[str | None, str, object]]


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as made:
        yield made


@pytest.fixture
def hooked() -> list[str]:
    """The steps for which the failure hook ran."""
    return []


def job(executor: ExecutorDefinition, hooked: list[str], bodies: Mapping[str, Body]) -> JobDefinition:
    """Steps one after the other, as ours are: two outputs without values, of which each step yields one, or none."""

    @dg.failure_hook(required_resource_keys={"saga"})
    def note(context: dg.HookContext) -> None:
        hooked.append(f"{context.op.name} {context.resources.saga}")

    def made(name: str, body: Body) -> dg.OpDefinition:
        out = dg.Out(dg.Nothing, is_required=False)

        @dg.op(
            name=name, ins={"start": dg.In(dg.Nothing)}, out={"result": out, "waits": out}, config_schema={"who": str}
        )
        def take(context: dg.OpExecutionContext) -> Iterator[Any]:
            answer = body(context)
            if answer is not None:
                yield answer

        return take

    names = list(bodies)
    dependencies: dict[str, Mapping[str, dg.DependencyDefinition]] = {
        name: {"start": dg.DependencyDefinition(before)} for before, name in itertools.pairwise(names)
    }
    graph = dg.GraphDefinition("steps", node_defs=[made(*one) for one in bodies.items()], dependencies=dependencies)
    made_job: JobDefinition = graph.to_job(
        executor_def=executor,
        hooks={note},
        resource_defs={"saga": dg.ResourceDefinition.hardcoded_resource("saga")},
        config={"ops": {name: {"config": {"who": "acme"}} for name in names}},
    )
    return made_job


def done(context: dg.OpExecutionContext) -> object:
    """Shows what a step may ask of its context."""
    context.log.info(f"{context.op.name} for {context.op_config['who']}")
    return dg.Output(None, "result", metadata={"state": "done", "seen": context.run_id[:0]})


def waits(_: dg.OpExecutionContext) -> object:
    return dg.Output(None, "waits", metadata={"state": "waiting"})


def fails(_: dg.OpExecutionContext) -> object:
    raise dg.Failure("said no", metadata={"refused": "BUSY"}, allow_retries=False)


def breaks(_: dg.OpExecutionContext) -> object:
    raise LookupError("nobody had thought of this")


def interrupts(_: dg.OpExecutionContext) -> object:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
    return None


def carry_out(instance: DagsterInstance, made: JobDefinition, steps: Sequence[str] | None = None) -> str:
    plan = dg._core.execution.api.create_execution_plan(made, step_keys_to_execute=steps) if steps else None
    run = instance.create_run_for_job(made, execution_plan=plan)
    for _ in execute_run_iterator(InMemoryJob(made), run, instance):
        pass
    return run.run_id


def told(instance: DagsterInstance, run_id: str) -> Told:
    """Step, kind and content of each event, without what differs from run to run."""
    return [
        (entry.step_key, _kind(entry), _content(entry))
        for entry in instance.all_logs(run_id)
        if _kind(entry) not in {"ENGINE_EVENT", "LOGS_CAPTURED", "HOOK_SKIPPED"}
    ]


def _kind(entry: EventLogEntry) -> str:
    return entry.dagster_event_type.value if entry.dagster_event_type else "LOG"


def _content(entry: EventLogEntry) -> object:
    if not entry.is_dagster_event:
        return entry.user_message, entry.level
    event = entry.get_dagster_event()
    data = event.event_specific_data
    match _kind(entry):
        case "STEP_OUTPUT":
            return event.message, event.step_output_data, (event.logging_tags or {})["op_name"]
        case "STEP_FAILURE":
            failure = event.step_failure_data
            return _words(failure.error), failure.user_failure_data, failure.error_source
        case "STEP_SUCCESS" | "RESOURCE_INIT_SUCCESS" | "PIPELINE_FAILURE":
            return type(data)
    return event.message


def _words(error: SerializableErrorInfo | None) -> object:
    return error and (error.cls_name, error.message, _words(error.cause))


CASES: dict[str, dict[str, Body]] = {
    "all is done": {"one": done, "two": done, "three": done},
    "one waits": {"one": done, "two": waits, "three": done, "four": done},
    "one answers nothing": {"one": lambda _: None, "two": done},
    "one fails": {"one": done, "two": fails, "three": done},
    "one breaks": {"one": breaks, "two": done},
    "one is interrupted": {"one": done, "two": interrupts, "three": done},
}


@pytest.mark.parametrize("case", CASES)
def test_it_tells_what_dagsters_own_one_tells(instance: DagsterInstance, case: str) -> None:
    stories, hooks, ends = [], [], []
    for executor in (STOCK, in_turn):
        hooked: list[str] = []
        run_id = carry_out(instance, job(executor, hooked, CASES[case]))
        stories.append(told(instance, run_id))
        hooks.append(hooked)
        run = instance.get_run_by_id(run_id)
        assert run is not None
        ends.append(run.status)

    assert stories[1] == stories[0]
    assert hooks[1] == hooks[0]
    assert ends[1] == ends[0]


def test_the_story_holds_what_it_is_about(instance: DagsterInstance, hooked: list[str]) -> None:
    """So that the comparison compares something."""
    story = told(instance, carry_out(instance, job(in_turn, hooked, CASES["one fails"])))

    assert [(step, kind) for step, kind, _ in story if step in {"one", "two"}] == [
        ("one", "STEP_START"),
        ("one", "LOG"),
        ("one", "STEP_OUTPUT"),
        ("one", "STEP_SUCCESS"),
        ("two", "STEP_START"),
        ("two", "STEP_FAILURE"),
        ("two", "HOOK_COMPLETED"),
    ]
    assert hooked == ["two saga"]


def test_no_hook_is_asked_while_steps_succeed(instance: DagsterInstance, hooked: list[str]) -> None:
    run_id = carry_out(instance, job(in_turn, hooked, CASES["all is done"]))

    assert "HOOK_SKIPPED" not in {_kind(entry) for entry in instance.all_logs(run_id)}


def test_some_of_the_steps_are_taken_where_only_they_are_asked_for(
    instance: DagsterInstance, hooked: list[str]
) -> None:
    run_id = carry_out(instance, job(in_turn, hooked, CASES["all is done"]), steps=["two", "three"])

    assert {step for step, _, _ in told(instance, run_id) if step} == {"two", "three"}


def test_an_op_that_tells_more_than_its_outputs_fails_and_says_why(
    instance: DagsterInstance, hooked: list[str]
) -> None:
    """It would be lost."""
    bodies: list[Body] = [lambda _: dg.AssetMaterialization("thing"), _logging_a_thing]
    for body in bodies:
        run_id = carry_out(instance, job(in_turn, hooked, {"one": body}))

        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is DagsterRunStatus.FAILURE
        (failure,) = [content for _, kind, content in told(instance, run_id) if kind == "STEP_FAILURE"]
        assert "tells more than its outputs" in str(failure)


def _logging_a_thing(context: dg.OpExecutionContext) -> object:
    context.log_event(dg.AssetMaterialization("thing"))
    return None


def test_an_op_with_values_is_taken_as_dagster_takes_it(instance: DagsterInstance) -> None:
    @dg.op
    def makes() -> int:
        return 42

    @dg.op
    def doubles(number: int) -> int:
        return 2 * number

    @dg.job(executor_def=in_turn, resource_defs={"io_manager": dg.mem_io_manager})
    def values() -> None:
        doubles(makes())

    run_id = carry_out(instance, values)

    kinds = [kind for _, kind, _ in told(instance, run_id)]
    assert kinds.count("HANDLED_OUTPUT") == 2
    assert kinds[-1] == "PIPELINE_SUCCESS"


def test_steps_are_taken_though_nothing_can_be_captured(
    instance: DagsterInstance, hooked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(type(instance.compute_log_manager), "capture_logs", full)
    monkeypatch.setattr(LocalComputeLogManager, "capture_logs", full)

    run_id = carry_out(instance, job(in_turn, hooked, CASES["all is done"]))

    entries = instance.all_logs(run_id)
    assert [kind for entry in entries if (kind := _kind(entry)) == "PIPELINE_SUCCESS"]
    (event,) = [
        entry.get_dagster_event()
        for entry in entries
        if entry.is_dagster_event and "cannot be kept" in (entry.get_dagster_event().message or "")
    ]
    assert event.engine_event_data.error is not None
    assert "No space left" in event.engine_event_data.error.message
