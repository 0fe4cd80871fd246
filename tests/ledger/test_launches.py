"""The queue of launches, as the role control_plane: who gets what, who may end it, and who is told."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import (
    FORMAT,
    Launches,
    LaunchState,
    Lease,
    Wished,
    Worker,
    seconds_until_room,
)
from tenant_pipelines.ledger.listening import Heard, Listener

POOL = uuid4()


@pytest.fixture
def launches(control_plane: str) -> Iterator[Launches]:
    database = Database(control_plane, patience=5)
    with psycopg.connect(control_plane, autocommit=True) as connection:
        connection.execute("delete from engine.launches")
    yield Launches(database)
    database.close()


@pytest.fixture
def listener(control_plane: str) -> Iterator[Listener]:
    made = Listener(control_plane, ["engine_launches", "engine_wake"])
    yield made
    made.close()


def take(launches: Launches, *, pid: int = 1, pool: UUID = POOL) -> Lease | None:
    return launches.take(pool=pool, pid=pid, started=1.0)


def taken(launches: Launches, *, pid: int = 1) -> Lease:
    """One run, queued and taken."""
    launches.add(uuid4(), "a job")
    lease = take(launches, pid=pid)
    assert lease is not None
    return lease


# Queueing and taking


def test_a_run_is_queued_once_however_often_it_is_added(launches: Launches) -> None:
    run = uuid4()

    launches.add(run, "a job")
    launches.add(run, "a job")

    assert launches.queued() == 1
    lease = take(launches)
    assert lease is not None
    assert (lease.run_id, lease.job) == (run, "a job")


def test_a_run_that_has_ended_is_not_queued_again(launches: Launches) -> None:
    lease = taken(launches)
    launches.end(lease, "success")

    launches.add(lease.run_id, "a job")

    assert launches.queued() == 0


def test_the_oldest_is_taken_first_and_nothing_twice(launches: Launches) -> None:
    runs = [uuid4() for _ in range(3)]
    for run in runs:
        launches.add(run, "a job")

    leases = [take(launches, pid=pid) for pid in range(4)]

    assert [lease and lease.run_id for lease in leases] == [*runs, None]


def test_a_hundred_runs_and_eight_takers_at_once_each_run_is_taken_once(launches: Launches) -> None:
    runs = [uuid4() for _ in range(100)]
    for run in runs:
        launches.add(run, "a job")
    ready = threading.Barrier(8)

    def taker(pid: int) -> list[UUID]:
        found = []
        ready.wait(10)
        while (lease := take(launches, pid=pid)) is not None:
            found.append(lease.run_id)
            launches.end(lease, "success")
        return found

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(taker, range(8)))

    assert sorted(run for one in found for run in one) == sorted(runs)


def test_every_take_has_a_lease_of_its_own_even_of_the_same_run(launches: Launches) -> None:
    first = taken(launches)
    launches.give_up(first)
    assert launches.put_back(first.run_id)

    second = take(launches, pid=2)

    assert second is not None
    assert second.run_id == first.run_id
    assert second.number > first.number


def test_a_worker_that_has_not_heard_what_it_took_gets_that_again_and_no_second_run(launches: Launches) -> None:
    first = taken(launches)
    launches.add(uuid4(), "another job")

    again = take(launches)

    assert again is not None
    assert again.run_id == first.run_id
    assert again.number > first.number
    assert launches.queued() == 1
    assert not launches.end(first, "success")


def test_a_row_of_a_newer_format_is_left_alone_and_told(launches: Launches, control_plane: str) -> None:
    with psycopg.connect(control_plane) as connection:
        connection.execute(
            "insert into engine.launches (run_id, format, job) values (%s, %s, 'a job')", (uuid4(), FORMAT + 1)
        )

    assert take(launches) is None
    assert launches.newer() == (1, FORMAT + 1)


# Ending


def test_only_the_present_lease_ends_a_run_and_hears_so_twice(launches: Launches) -> None:
    lease = taken(launches)
    former = Lease(lease.run_id, lease.number - 1, lease.job)

    assert not launches.end(former, "success")
    assert launches.end(lease, "success")
    assert launches.end(lease, "success")

    row = launches.of(lease.run_id)
    assert row is not None
    assert (row.state, row.outcome) == (LaunchState.ENDED, "success")
    assert row.ended_at is not None


def test_a_lost_run_is_not_ended_by_the_worker_that_was_lost(launches: Launches) -> None:
    lease = taken(launches)
    assert launches.give_up(lease)

    assert not launches.end(lease, "success")

    assert [row.run_id for row in launches.lost()] == [lease.run_id]


def test_a_run_that_has_ended_is_not_given_up_and_its_worker_not_killed(launches: Launches) -> None:
    lease = taken(launches)
    launches.end(lease, "success")
    killed: list[bool] = []

    assert not launches.give_up(lease, lambda: killed.append(True))

    assert killed == []
    assert launches.lost() == []


def test_a_worker_is_killed_while_its_row_is_locked(launches: Launches) -> None:
    lease = taken(launches)
    ends = ThreadPoolExecutor(1)
    killed = []

    def kill() -> None:
        end = ends.submit(launches.end, lease, "success")
        with pytest.raises(TimeoutError):
            end.result(0.2)
        killed.append(end)

    assert launches.give_up(lease, kill)
    assert killed[0].result(5) is False
    ends.shutdown()


def test_a_lost_run_is_settled_once(launches: Launches) -> None:
    lease = taken(launches)
    launches.give_up(lease)
    assert launches.give_up(lease)  # as after an answer that was not heard

    assert launches.settle_lost(lease.run_id)
    assert not launches.settle_lost(lease.run_id)
    assert not launches.put_back(lease.run_id)

    row = launches.of(lease.run_id)
    assert row is not None
    assert (row.state, row.outcome) == (LaunchState.ENDED, "lost")


# Wishes


def test_a_queued_run_that_is_to_end_is_never_taken(launches: Launches) -> None:
    run = uuid4()
    launches.add(run, "a job")

    assert launches.wish_interrupt(run) is Wished.REMOVED

    assert take(launches) is None
    row = launches.of(run)
    assert row is not None
    assert (row.state, row.outcome) == (LaunchState.ENDED, "removed")


def test_a_wish_about_a_run_that_is_carried_out_is_there_until_it_ends(launches: Launches) -> None:
    lease = taken(launches)
    taken(launches, pid=2)

    assert launches.wish_interrupt(lease.run_id) is Wished.ASKED
    assert [row.held() for row in launches.wished()] == [lease]

    launches.end(lease, "interrupted")
    assert launches.wished() == []


def test_a_wish_about_a_run_that_has_ended_or_never_was_changes_nothing(launches: Launches) -> None:
    lease = taken(launches)
    launches.end(lease, "success")

    assert launches.wish_interrupt(lease.run_id) is Wished.NOTHING
    assert launches.wish_interrupt(uuid4()) is Wished.NOTHING


def test_what_is_done_while_a_lease_is_held_is_not_done_afterwards(launches: Launches) -> None:
    lease, done = taken(launches), list[int]()

    assert launches.while_held(lease, lambda: done.append(1))
    launches.end(lease, "success")
    assert not launches.while_held(lease, lambda: done.append(2))

    assert done == [1]


# Telling


def test_workers_supervisor_and_waker_are_told(launches: Launches, listener: Listener) -> None:
    lease = taken(launches)
    assert listener.heard(5) == [Heard("engine_launches", "queued")]

    launches.wish_interrupt(lease.run_id)
    assert listener.heard(5) == [Heard("engine_launches", "wish")]

    launches.give_up(lease)
    assert listener.heard(5) == [Heard("engine_wake", "lost")]

    launches.put_back(lease.run_id)
    assert listener.heard(5) == [Heard("engine_launches", "queued")]


def test_a_listener_hears_nothing_where_nothing_is_said(listener: Listener) -> None:
    assert listener.heard() == []
    assert listener.heard(0.01) == []


def test_a_listener_whose_connection_was_ended_says_so(listener: Listener, control_plane: str) -> None:
    with psycopg.connect(control_plane) as connection:
        connection.execute("select pg_terminate_backend(%s)", (listener.connection.info.backend_pid,))

    with pytest.raises(psycopg.OperationalError):
        listener.heard(5)


# Looking


def test_who_holds_what(launches: Launches) -> None:
    lease = taken(launches, pid=7)
    launches.add(uuid4(), "a job")

    assert [(row.held(), row.worker()) for row in launches.taken()] == [(lease, Worker(POOL, 7, 1.0))]
    held = launches.of_worker(Worker(POOL, 7, 1.0))
    assert held is not None
    assert held.held() == lease
    assert launches.of_worker(Worker(POOL, 7, 2.0)) is None


def test_a_row_that_nobody_took_has_no_lease_and_no_worker(launches: Launches) -> None:
    run = uuid4()
    launches.add(run, "a job")
    row = launches.of(run)
    assert row is not None

    with pytest.raises(ValueError, match="never taken"):
        row.held()
    with pytest.raises(ValueError, match="held by no worker"):
        row.worker()


@pytest.mark.parametrize(("queued", "seconds"), [(0, 0.0), (9, 0.0), (10, 1.0), (11, 1.0), (29, 10.0)], ids=str)
def test_a_full_queue_says_when_to_come_back(queued: int, seconds: float) -> None:
    assert seconds_until_room(queued, 10, per_second=2.0) == seconds


def test_a_pool_that_ends_nothing_still_gives_a_time() -> None:
    assert seconds_until_room(10, 10, per_second=0.0) == 100.0
