"""An op that answers none of what the next one waits for: why a wait can end a run without failing it."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus

from tests.dagster.events import steps_with

OUTS = {name: dg.Out(dg.Nothing, is_required=False) for name in ("result", "waits")}


def job_that_waits_at(waits: str) -> dg.JobDefinition:
    """Four steps in a row, of which one waits."""
    hooked: list[str] = []

    @dg.failure_hook
    def note(context: dg.HookContext) -> None:
        hooked.append(context.op.name)
        raise AssertionError("nothing has failed")

    def step(name: str) -> dg.OpDefinition:
        @dg.op(name=f"op_{name}", ins={"start": dg.In(dg.Nothing)}, out=OUTS)
        def take() -> Iterator[dg.Output[None]]:
            answer = "waits" if name == waits else "result"
            yield dg.Output(None, answer, metadata={"of": name})

        return take

    @dg.job(hooks={note}, executor_def=dg.in_process_executor)
    def waiting_job() -> None:
        done = step("first")()
        for name in ("second", "third", "fourth"):
            done = step(name)(done.result)

    job: dg.JobDefinition = waiting_job
    return job


def run_of(instance: DagsterInstance, job: dg.JobDefinition) -> dg.DagsterRun:
    run_id = job.execute_in_process(instance=instance, raise_on_error=False).run_id
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


@pytest.mark.parametrize(("waits", "skipped"), [("second", ["op_third", "op_fourth"]), ("fourth", [])])
def test_what_follows_an_output_that_was_not_given_is_skipped_and_the_run_ends_well(
    instance: DagsterInstance, waits: str, skipped: list[str]
) -> None:
    run = run_of(instance, job_that_waits_at(waits))

    assert run.status is DagsterRunStatus.SUCCESS
    assert steps_with(instance, run.run_id, DagsterEventType.STEP_SKIPPED) == skipped
    assert steps_with(instance, run.run_id, DagsterEventType.STEP_FAILURE) == []
    assert steps_with(instance, run.run_id, DagsterEventType.HOOK_COMPLETED) == []
    assert steps_with(instance, run.run_id, DagsterEventType.HOOK_ERRORED) == []


def test_the_metadata_of_the_other_output_is_the_last_that_the_run_shows(instance: DagsterInstance) -> None:
    run = run_of(instance, job_that_waits_at("second"))

    last = instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_OUTPUT)[-1]

    assert last.dagster_event is not None
    data = last.dagster_event.step_output_data
    assert (last.step_key, data.output_name) == ("op_second", "waits")
    assert {label: value.value for label, value in data.metadata.items()} == {"of": "second"}
