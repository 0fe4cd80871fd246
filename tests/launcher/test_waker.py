"""The waker: hears, looks, pushes on; what fails rests; the database may go away."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from os import eventfd, eventfd_write
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.launcher.channel import Assignment
from tenant_pipelines.launcher.preload import Preloaded
from tenant_pipelines.launcher.waker import _looking, attend, main
from tenant_pipelines.ledger.due import Due, DueList, What
from tenant_pipelines.ledger.launches import LaunchState
from tenant_pipelines.operations import pushing
from tenant_pipelines.operations.pushing import LONGEST_SLEEP, REST, SHORTEST_SLEEP, Rests, Waker
from tenant_pipelines.settings import Settings
from tests.fakes.systems import Systems
from tests.launcher.warm_fixtures import systems, warm, warm_dagster, warm_settings
from tests.launcher.warm_stage import WarmStage
from tests.settings_values import environment

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]


class Ending:
    """Tells the waker to end."""

    def __init__(self) -> None:
        self._fd = eventfd(0)

    def fileno(self) -> int:
        return self._fd

    def now(self) -> None:
        eventfd_write(self._fd, 1)


@contextmanager
def waking(warm: WarmStage, waker: Waker | None = None) -> Iterator[None]:
    """A waker in a thread, which hears what is announced from here on."""
    ending, url = Ending(), warm.given.database_url.get_secret_value()
    thread = threading.Thread(target=attend, args=(waker or Waker(warm.desk, lambda: None), url, ending))
    thread.start()
    try:
        yield
    finally:
        ending.now()
        thread.join(10)
    assert not thread.is_alive()


def soon(check: Callable[[], bool], *, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def due_of(warm: WarmStage) -> list[Due]:
    due = DueList(warm.given.database_url.get_secret_value())
    try:
        return list(due.look())
    finally:
        due.close()


# What is due


def test_nothing_is_due_while_everything_is_acted_for(warm: WarmStage) -> None:
    queued, taken = warm.start(warm.tenant()), warm.start(warm.tenant())
    warm.take()

    assert due_of(warm) == []
    assert {warm.row(one.id).state for one in (queued, taken)} == {LaunchState.QUEUED, LaunchState.TAKEN}


def test_a_lost_run_is_due(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.lose()

    assert due_of(warm) == [Due(What.LOST, execution.id, 0.0)]


def test_a_rollback_that_nobody_has_claimed_is_due(
    warm: WarmStage, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = failed_without_hook(warm, systems, monkeypatch)

    [one] = due_of(warm)
    assert (one.what, one.id) == (What.EXECUTION, execution)
    assert one.seconds <= 0


def test_a_run_that_was_never_handed_over_is_due_when_its_maker_has_had_its_time(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(type(warm.runs), "launch", lambda *_: None)
        execution = warm.start(warm.tenant())
    assert due_of(warm) == []

    monkeypatch.setattr("tenant_pipelines.ledger.due.UNMADE", 0.5)

    [one] = due_of(warm)
    assert (one.what, one.id) == (What.EXECUTION, execution.id)
    assert 0 < one.seconds <= 0.5


def test_a_run_that_has_ended_before_its_time_is_due(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.launches.end(warm.take(), "broken")

    assert [(one.what, one.id) for one in due_of(warm)] == [(What.EXECUTION, execution.id)]


def test_a_workflow_that_waits_for_its_signal_is_due_only_when_its_time_is_over(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.work()
    assert due_of(warm) == []

    _sql(warm, "update engine.executions set waiting_until = now() + interval '0.4 s' where closed_at is null")

    [one] = due_of(warm)
    assert (one.what, one.id) == (What.EXECUTION, execution.id)
    assert 0 < one.seconds <= 0.4


# The process


@pytest.fixture
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has announced is not found within a test's time."""
    monkeypatch.setattr(pushing, "LONGEST_SLEEP", 60.0)


def test_a_lost_worker_is_continued_as_soon_as_it_is_given_up(warm: WarmStage, only_when_told: None) -> None:
    execution = warm.start(warm.tenant())
    with waking(warm):
        soon(lambda: listening(warm))
        warm.lose(after="provisioning_database")

        soon(lambda: warm.launches.queued() == 1)

    assert warm.execution(warm.run(execution.id)).run_id != execution.id


def test_a_rollback_starts_at_once_although_the_hook_has_died(
    warm: WarmStage, systems: Systems, monkeypatch: pytest.MonkeyPatch, only_when_told: None
) -> None:
    with waking(warm):
        soon(lambda: listening(warm))
        execution = failed_without_hook(warm, systems, monkeypatch)

        soon(lambda: warm.launches.queued() == 1)

    [rollback] = warm.work_all()
    assert rollback.job_name == "rollback_tenant"
    assert warm.execution(rollback).id == execution


def test_a_wait_that_is_over_ends_at_its_time(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    warm.work()
    _sql(warm, "update engine.executions set waiting_until = now() + interval '0.3 s' where closed_at is null")

    with waking(warm):
        soon(lambda: warm.execution(warm.run(execution.id)).state is State.COMPLETED)


def test_it_ends_at_once_when_told(warm: WarmStage, only_when_told: None) -> None:
    with waking(warm):
        soon(lambda: listening(warm))


def test_it_comes_back_after_its_connection_was_cut(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    with waking(warm):
        soon(lambda: listening(warm))
        _sql(warm, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%waker'")
        warm.lose(after="provisioning_database")

        soon(lambda: warm.row(execution.id).state is LaunchState.ENDED)


def test_it_waits_for_a_database_that_is_away_and_ends_when_told_meanwhile(warm: WarmStage) -> None:
    ending = Ending()
    thread = threading.Thread(
        target=attend, args=(Waker(warm.desk, lambda: None), "postgresql://nobody@127.0.0.1:1/nowhere", ending)
    )
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()

    ending.now()

    thread.join(5)
    assert not thread.is_alive()


def test_an_idle_waker_asks_the_database_at_most_once_a_second(warm: WarmStage) -> None:
    asked: list[float] = []
    look = DueList.look

    def counted(self: DueList) -> object:
        asked.append(time.monotonic())
        return look(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DueList, "look", counted)
        with waking(warm):
            soon(lambda: len(asked) == 3)

    assert min(after - before for before, after in pairwise(asked)) > 0.9


# What cannot be pushed on


def test_one_that_fails_rests_is_told_once_and_does_not_stop_the_next(
    warm: WarmStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("tenant_pipelines"), "propagate", True)
    clock = [0.0]
    waker = Waker(warm.desk, lambda: None, rests=Rests(lambda: clock[0]))
    bad, good = Due(What.EXECUTION, uuid4(), -1.0), Due(What.EXECUTION, uuid4(), 0.0)
    pushed = []

    def push(found: object) -> None:
        pushed.append(found)
        if found == bad.id:
            raise RuntimeError("fake-secret in the words of a driver")

    monkeypatch.setattr(type(warm.ledger), "execution_of_run", lambda _, found: push(found))

    for clock[0] in (0.0, 1.0, REST, 61.0):
        waker.push([bad, good])

    assert pushed == [bad.id, good.id, good.id, bad.id, good.id, bad.id, good.id]
    lines = [record.getMessage() for record in caplog.records if str(bad.id) in record.getMessage()]
    assert len(lines) == 2
    assert "RuntimeError" in lines[0]
    assert "fake-secret" not in "".join(lines)


def test_parked_executions_are_looked_after_together_and_not_in_every_turn() -> None:
    clock, passes = [0.0], list[float]()
    waker = Waker(None, lambda: passes.append(clock[0]), rests=Rests(lambda: clock[0]))  # type: ignore[arg-type]
    due = [Due(What.PARKED, uuid4(), -1.0), Due(What.PARKED, uuid4(), -0.5)]

    for clock[0] in (0.0, 0.1, 0.6):
        waker.push(due)

    assert passes == [0.0, 0.6]


def test_how_long_it_sleeps() -> None:
    rests = Rests(lambda: 100.0)
    resting = Due(What.EXECUTION, uuid4(), -3.0)
    rests.rest([resting.id], 0.7)

    assert rests.next([]) == LONGEST_SLEEP
    assert rests.next([Due(What.EXECUTION, uuid4(), 0.25)]) == 0.25
    assert rests.next([Due(What.EXECUTION, uuid4(), -0.25)]) == SHORTEST_SLEEP
    assert rests.next([resting]) == pytest.approx(0.7)
    assert rests.awake([resting]) == []


def test_what_is_not_due_any_more_is_forgotten() -> None:
    rests = Rests(lambda: 0.0)
    one = Due(What.EXECUTION, uuid4(), -1.0)
    rests.rest([one.id], 60.0)
    assert rests.may_tell(one.id)

    rests.awake([])

    assert rests.awake([one]) == [one]
    assert rests.may_tell(one.id)


def listening(warm: WarmStage) -> bool:
    query = "select query from pg_stat_activity where application_name = 'tenant-pipelines-waker'"
    return any("engine.launches" in str(row[0]) for row in _sql(warm, query))


def failed_without_hook(warm: WarmStage, systems: Systems, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """The id of an execution whose step has failed in a process that died right then."""
    systems.fail("bucket", Validation("S3", "said no"))
    execution = warm.start(warm.tenant())
    with monkeypatch.context() as dying:
        dying.setattr("resources.saga.roll_back_of_run", lambda *_, **__: None)
        warm.work()
    return execution.id


def _sql(warm: WarmStage, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(warm.given.database_url.get_secret_value(), autocommit=True) as connection:
        found = connection.execute(query.encode())
        return found.fetchall() if found.description else []


# The process's own beginning


class Told:
    """A channel that only listens to the process."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def unfit(self, reason: str) -> None:
        self.reasons.append(reason)


class Loaded(ModuleType):
    """What the process is a copy of."""

    def __init__(self, preloaded: Preloaded) -> None:
        super().__init__("warm")
        self.PRELOADED = preloaded


def test_a_pair_that_is_not_supported_ends_the_pool_with_the_reason(
    warm_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment(database_url=warm_settings.database_url.get_secret_value()).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_launcher: {module: tenant_pipelines.launcher.run_launcher, class: WarmRunLauncher,"
        " config: {database_url: {env: TENANT_PIPELINES_DATABASE_URL}}}\n"
        "run_coordinator: {module: dagster, class: QueuedRunCoordinator}\n"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setitem(
        sys.modules, "tenant_pipelines.launcher.warm", Loaded(Preloaded("tenant_pipelines.definitions"))
    )
    told = Told()

    main(told, Assignment(uuid4(), "tenant_pipelines.definitions"))  # type: ignore[arg-type]

    [reason] = told.reasons
    assert "WarmRunLauncher with the run coordinator QueuedRunCoordinator" in reason


def test_without_outside_systems_to_look_at_a_parked_execution_is_woken_at_its_time(warm: WarmStage) -> None:
    execution = warm.start(warm.tenant())
    lease = warm.lose(after="provisioning_database")
    _sql(warm, "update engine.launches set state = 'ended', ended_at = now(), outcome = 'success' where state = 'lost'")
    _sql(
        warm,
        "update engine.executions set parked_step = 'provisioning_storage', parked_side = 'do', parked_at = now(), "
        "wake_at = now() where closed_at is null",
    )

    with (
        _looking(warm.desk, "tests.launcher.warm_stage", warm.given) as parked,
        waking(warm, Waker(warm.desk, parked)),
    ):
        soon(lambda: warm.launches.queued() == 1)

    [continued] = warm.work_all()
    assert continued.run_id != str(lease.run_id)
    assert continued.tags["parked"] == "provisioning_storage"
    assert warm.execution(continued).id == execution.id
