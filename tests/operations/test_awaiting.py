"""Waiting for the end of an execution: told, not polled, whatever happens to the connection meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox.postgres import Server
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import signal
from tenant_pipelines.operations.awaiting import ENDED, Endings, NotEnded
from tests.operations.stage import HeardCompany, new_key

PATIENCE = 20.0
NAME = "tenant-pipelines-endings"
LISTENING = "select pid from pg_stat_activity where application_name = %s and datname = current_database()"


@pytest.fixture
def endings(control_plane: str, company: HeardCompany) -> Iterator[Endings]:
    with Endings(control_plane, company.desk.ledger) as opened:
        yield opened


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def waiting_for_the_app_plane(company: HeardCompany) -> Execution:
    """An execution whose steps are all done, and that ends with a signal."""
    execution = company.provision(new_key())
    assert execution.waiting_until is not None
    return execution


def confirm(company: HeardCompany, execution: Execution) -> None:
    given = {"success": True}
    signal.signal(
        company.desk,
        execution.tenant_id,
        signal.CONFIRMED,
        given,
        key=str(execution.id),
        claimant=Claimant("app-plane", "webhook"),
    )


def until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def connection_of(admin: psycopg.Connection, *, other_than: int | None = None) -> int:
    """The server process of the listener's connection, once there is one."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for (pid,) in admin.execute(LISTENING, [NAME]).fetchall() if pid != other_than]
        return bool(found)

    until(look)
    return found[0]


def await_in(
    threads: ThreadPoolExecutor, endings: Endings, *executions: Execution, timeout: float = PATIENCE
) -> list[Future[Execution]]:
    """Waiters that are all known to the listener."""
    futures = [threads.submit(endings.await_end, execution.id, timeout=timeout) for execution in executions]
    until(lambda: sum(map(len, endings._waiting.values())) == len(futures))
    return futures


def test_the_end_is_heard(
    company: HeardCompany, endings: Endings, threads: ThreadPoolExecutor, admin: psycopg.Connection
) -> None:
    execution = waiting_for_the_app_plane(company)
    connection_of(admin)
    (future,) = await_in(threads, endings, execution)

    confirm(company, execution)

    ended = future.result(timeout=PATIENCE)
    assert (ended.id, ended.state) == (execution.id, State.COMPLETED)


def test_what_had_ended_before_is_answered_at_once(company: HeardCompany, endings: Endings) -> None:
    execution = waiting_for_the_app_plane(company)
    confirm(company, execution)

    assert endings.await_end(execution.id, timeout=0).state is State.COMPLETED


def test_an_end_that_was_announced_before_anybody_listened_is_seen(
    company: HeardCompany, control_plane: str, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiter has looked, the execution ends, and only then the connection is there."""
    may_connect = threading.Event()
    connect = Endings._connected
    monkeypatch.setattr(Endings, "_connected", lambda self: (may_connect.wait(PATIENCE), connect(self))[1])
    execution = waiting_for_the_app_plane(company)
    with Endings(control_plane, company.desk.ledger) as endings:
        (future,) = await_in(threads, endings, execution)
        confirm(company, execution)

        may_connect.set()

        assert future.result(timeout=PATIENCE).state is State.COMPLETED


def test_many_wait_over_one_connection_and_each_hears_its_own(
    company: HeardCompany, endings: Endings, threads: ThreadPoolExecutor, admin: psycopg.Connection
) -> None:
    executions = [waiting_for_the_app_plane(company) for _ in range(3)]
    connection_of(admin)
    futures = await_in(threads, endings, *executions, *executions, *executions)

    confirm(company, executions[1])

    assert {futures[number].result(timeout=PATIENCE).id for number in (1, 4, 7)} == {executions[1].id}
    assert [future.done() for future in futures].count(True) == 3
    assert len(admin.execute(LISTENING, [NAME]).fetchall()) == 1
    for execution in (executions[0], executions[2]):
        confirm(company, execution)
    assert {future.result(timeout=PATIENCE).state for future in futures} == {State.COMPLETED}


def test_a_lost_connection_loses_no_end(
    company: HeardCompany, endings: Endings, threads: ThreadPoolExecutor, admin: psycopg.Connection
) -> None:
    before, after = waiting_for_the_app_plane(company), waiting_for_the_app_plane(company)
    first = connection_of(admin)
    futures = await_in(threads, endings, before, after)

    with admin.transaction():  # both become true at once: the connection is gone, and the execution has ended
        admin.execute("select pg_terminate_backend(%s)", [first])
        confirm(company, before)

    assert futures[0].result(timeout=PATIENCE).state is State.COMPLETED
    connection_of(admin, other_than=first)
    confirm(company, after)
    assert futures[1].result(timeout=PATIENCE).state is State.COMPLETED


def test_nobody_looks_while_nothing_is_told(
    company: HeardCompany,
    control_plane: str,
    threads: ThreadPoolExecutor,
    admin: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[UUID] = []
    look = OperatorLedger.execution_of_run

    def counted(ledger: OperatorLedger, run_id: UUID) -> Execution | None:
        looks.append(run_id)
        return look(ledger, run_id)

    monkeypatch.setattr(OperatorLedger, "execution_of_run", counted)
    heard, other, execution = (waiting_for_the_app_plane(company) for _ in range(3))
    with Endings(control_plane, company.desk.ledger) as endings:
        connection_of(admin)
        first, second, third = await_in(threads, endings, heard, other, execution)
        confirm(company, heard)
        first.result(timeout=PATIENCE)  # what follows from the connection itself is over
        until(lambda: {other.id, execution.id} <= set(looks))
        looks.clear()

        admin.execute("select pg_notify(%s, 'nobody''s')", [ENDED])
        confirm(company, other)
        second.result(timeout=PATIENCE)
        assert set(looks) == {other.id}

        confirm(company, execution)
        third.result(timeout=PATIENCE)


def test_the_time_is_over_and_the_execution_goes_on(company: HeardCompany, endings: Endings) -> None:
    execution = waiting_for_the_app_plane(company)

    with pytest.raises(NotEnded, match=r"has not ended within 0\.05 s; it is at step provisioning_app_plane") as caught:
        endings.await_end(execution.id, timeout=0.05)

    assert caught.value.execution.id == execution.id
    assert execution.workflow_id in str(caught.value)
    assert endings._waiting == {}


def test_what_is_not_there_is_not_waited_for(endings: Endings) -> None:
    with pytest.raises(Refused) as caught:
        endings.await_end(uuid4(), timeout=PATIENCE)

    assert caught.value.code is Code.NOT_FOUND


def test_an_outage_is_waited_for_as_long_as_there_is_time(control_plane: str, postgres: Server) -> None:
    nobody = f"postgresql://control_plane:x@{postgres.host}:1/arc_saas"
    away = Database(nobody, patience=0.05)
    try:
        with Endings(nobody, OperatorLedger(away)) as endings, pytest.raises(Refused) as caught:
            endings.await_end(uuid4(), timeout=0.2)
    finally:
        away.close()

    assert caught.value.code is Code.UNAVAILABLE


def test_closing_ends_the_thread_and_the_connection(
    company: HeardCompany, control_plane: str, admin: psycopg.Connection
) -> None:
    endings = Endings(control_plane, company.desk.ledger)
    connection_of(admin)

    endings.close()
    endings.close()

    assert not endings._thread.is_alive()
    until(lambda: not admin.execute(LISTENING, [NAME]).fetchall())
