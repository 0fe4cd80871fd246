"""Hooks: the fast path to a rollback, and never its guarantee."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.errors import DagsterExecutionInterruptedError

from tests.dagster.events import steps_with


class Counted:
    """A job of one op, and how often op and failure hook ran."""

    def __init__(self, body: Callable[[], None], *, retries: int = 0, hook: Callable[[], None] = lambda: None) -> None:
        self.ops: list[int] = []
        self.hooks: list[int] = []

        @dg.failure_hook
        def counted_hook(_: dg.HookContext) -> None:
            self.hooks.append(len(self.ops))
            hook()

        @dg.op(retry_policy=dg.RetryPolicy(max_retries=retries) if retries else None)
        def counted_op() -> None:
            self.ops.append(1)
            body()

        @dg.job(hooks={counted_hook}, executor_def=dg.in_process_executor)
        def counted_job() -> None:
            counted_op()

        self.job = counted_job

    def run(self, instance: DagsterInstance, *, raise_on_error: bool = False) -> dg.ExecuteInProcessResult:
        return self.job.execute_in_process(instance=instance, raise_on_error=raise_on_error)


def raising(error: BaseException) -> Callable[[], None]:
    """A body that raises this."""

    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), dg.Failure("no"), dg.Failure("no", allow_retries=False), SystemExit(1)],
    ids=["exception", "Failure", "Failure that allows no retry", "SystemExit"],
)
def test_the_failure_hook_runs_once_when_an_op_raises(instance: DagsterInstance, error: BaseException) -> None:
    tried = Counted(raising(error))

    result = tried.run(instance)

    assert tried.hooks == [1]
    assert instance.get_run_by_id(result.run_id).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_the_failure_hook_runs_after_the_last_retry_only(instance: DagsterInstance) -> None:
    tried = Counted(raising(ValueError("no")), retries=2)

    tried.run(instance)

    assert tried.hooks == [3]


def test_a_failure_that_allows_no_retry_uses_no_retry(instance: DagsterInstance) -> None:
    tried = Counted(raising(dg.Failure("no", allow_retries=False)), retries=2)

    tried.run(instance)

    assert tried.hooks == [1]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), DagsterExecutionInterruptedError()], ids=lambda e: type(e).__name__
)
def test_the_failure_hook_does_not_run_on_an_interrupt(instance: DagsterInstance, error: BaseException) -> None:
    tried = Counted(raising(error))

    result = tried.run(instance)

    assert tried.ops == [1]
    assert tried.hooks == []
    assert instance.get_run_by_id(result.run_id).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]


def test_the_failure_hook_does_not_run_when_a_resource_cannot_be_made(instance: DagsterInstance) -> None:
    hooks: list[str] = []

    @dg.resource
    def broken(_: dg.InitResourceContext) -> None:
        raise ValueError("no")

    @dg.failure_hook
    def counted_hook(context: dg.HookContext) -> None:
        hooks.append(context.op.name)

    @dg.op(required_resource_keys={"broken"})
    def needy() -> None: ...

    @dg.job(hooks={counted_hook}, resource_defs={"broken": broken}, executor_def=dg.in_process_executor)
    def needy_job() -> None:
        needy()

    result = needy_job.execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success
    assert hooks == []
    assert steps_with(instance, result.run_id, DagsterEventType.STEP_FAILURE) == []


def test_a_hook_that_raises_is_swallowed(instance: DagsterInstance) -> None:
    tried = Counted(raising(dg.Failure("the op's own error")), hook=raising(RuntimeError("the hook's")))

    result = tried.run(instance)

    assert steps_with(instance, result.run_id, DagsterEventType.HOOK_ERRORED) == ["counted_op"]
    [failed] = instance.all_logs(result.run_id, of_type=DagsterEventType.RUN_FAILURE)
    assert "the hook's" not in failed.user_message + failed.message


def test_execute_in_process_runs_no_hook_unless_told_not_to_raise(instance: DagsterInstance) -> None:
    tried = Counted(raising(ValueError("no")))

    with pytest.raises(ValueError, match="no"):
        tried.run(instance, raise_on_error=True)

    assert tried.hooks == []


def test_a_step_whose_success_cannot_be_written_is_marked_failed_though_its_body_was_done(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Counted(lambda: None)
    storage = instance.event_log_storage
    store = storage.store_event
    away = [True]

    def store_event(event: dg.EventLogEntry) -> None:
        if event.is_dagster_event and event.get_dagster_event().event_type is DagsterEventType.STEP_OUTPUT and away:
            away.pop()
            raise ConnectionError("the database is away")
        store(event)

    monkeypatch.setattr(storage, "store_event", store_event)

    result = tried.run(instance)

    assert not away
    assert tried.ops == [1]
    assert steps_with(instance, result.run_id, DagsterEventType.STEP_FAILURE) == ["counted_op"]
    assert tried.hooks == [1]
