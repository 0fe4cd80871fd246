"""The queue of launches: Dagster runs handed over to warm workers, and who holds which."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.database import Database, Transaction

FORMAT = 1
"""Of the rows that this release writes and understands; a newer one is left to a newer worker."""
LAUNCHES = "engine_launches"
"""Notified with QUEUED when a run is queued, and with WISH when somebody wants one to end."""
QUEUED, WISH = "queued", "wish"
WAKE = "engine_wake"
"""Notified when an execution may need a push; with `lost` when a worker was lost."""
PER_SECOND = 4.0
"""Runs that a small pool ends in a second, for whoever is told when to come back."""
_MANY = 10_000
_GIVEN_UP_FROM = ("taken", "lost")  # `lost`: by this very call, whose answer was lost


class LaunchState(StrEnum):
    """How a launch stands."""

    QUEUED = "queued"
    TAKEN = "taken"
    """A worker carries it out, under a lease."""
    ENDED = "ended"
    LOST = "lost"
    """Its worker is dead; the waker is to see to the run."""


class Wished(StrEnum):
    """What became of the wish that a run should end."""

    REMOVED = "removed"
    """Nobody had taken it, and nobody will."""
    ASKED = "asked"
    """A worker has it; the supervisor is told."""
    NOTHING = "nothing"
    """There is nothing (any more) to be ended."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to carry out one run, until it ends or is given up. Args: number: never given twice."""

    run_id: UUID
    number: int
    job: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A process, so that it cannot be taken for another one.

    Args: pool: one life of a supervisor. started: in clock ticks since boot; a pid alone is used again.
    """

    pool: UUID
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Row:
    """One launch as it is in the database."""

    run_id: UUID
    format: int
    job: str
    state: LaunchState
    lease: int | None
    pool: UUID | None
    worker_pid: int | None
    worker_started: float | None
    queued_at: datetime
    taken_at: datetime | None
    ended_at: datetime | None
    wish: str | None
    wished_at: datetime | None
    outcome: str | None

    def held(self) -> Lease:
        """The lease under which it is, or was last, carried out. Raises: ValueError when nobody has ever taken it."""
        if self.lease is None:
            raise ValueError(f"run {self.run_id} was never taken")
        return Lease(self.run_id, self.lease, self.job)

    def worker(self) -> Worker:
        """Who holds it. Raises: ValueError when nobody does."""
        if self.pool is None or self.worker_pid is None or self.worker_started is None:
            raise ValueError(f"run {self.run_id} is held by no worker")
        return Worker(self.pool, self.worker_pid, self.worker_started)


class Launches:
    """The queue. Every method is one transaction, and may be repeated after a lost connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_id: UUID, job: str) -> None:
        """Queue the run, and tell the workers; again with the same run: nothing more."""

        def work(tx: Transaction) -> None:
            tx.do("add_launch", run_id=run_id, format=FORMAT, job=job)
            tx.one("announce_launch")

        self._database.run(work)

    def take(self, *, pool: UUID, pid: int, started: float) -> Lease | None:
        """The oldest run that waits, under a new lease; None when none does. Rows of a newer format are left alone.

        A worker that takes while a run is still taken in its name gets that one: it has not heard the last answer.
        """
        row = self._database.run(lambda tx: tx.one("take_launch", format=FORMAT, pool=pool, pid=pid, started=started))
        return None if row is None else Lease(row["run_id"], row["lease"], row["job"])

    def end(self, lease: Lease, outcome: str) -> bool:
        """The run has ended, or its worker has nothing more to do with it; False when the lease is not held any more.

        Args: outcome: a word for people; never `lost`.
        """
        return self._found("end_launch", run_id=lease.run_id, lease=lease.number, outcome=outcome)

    def wish_interrupt(self, run_id: UUID) -> Wished:
        """Somebody wants the run to end."""

        def work(tx: Transaction) -> Wished:
            row = tx.one("lock_launch", run_id=run_id)
            match LaunchState(row["state"]) if row else None:
                case LaunchState.QUEUED:
                    tx.do("remove_launch", run_id=run_id)
                    return Wished.REMOVED
                case LaunchState.TAKEN:
                    tx.do("wish_interrupt", run_id=run_id)
                    tx.one("announce_wish")
                    return Wished.ASKED
                case _:
                    return Wished.NOTHING

        return self._database.run(work)

    def while_held(self, lease: Lease, act: Callable[[], None]) -> bool:
        """Act while the row is locked under that lease, so that what is done cannot hit the next run; else False.

        Args: act: quick, and harmless when it is done twice.
        """

        def work(tx: Transaction) -> bool:
            if tx.one("lock_lease", run_id=lease.run_id, lease=lease.number) is None:
                return False
            act()
            return True

        return self._database.run(work)

    def give_up(self, lease: Lease, kill: Callable[[], None] | None = None) -> bool:
        """Its worker is lost: the waker is told to see to the run. False when the run has ended under this lease.

        Args: kill: what makes sure that the worker does nothing more; done while the row is locked under the lease.
        """

        def work(tx: Transaction) -> bool:
            row = tx.one("lock_launch", run_id=lease.run_id)
            if row is None or row["lease"] != lease.number or row["state"] not in _GIVEN_UP_FROM:
                return False
            if kill is not None:
                kill()
            tx.do("give_up_launch", run_id=lease.run_id, lease=lease.number)
            tx.one("announce_lost")
            return True

        return self._database.run(work)

    def settle_lost(self, run_id: UUID) -> bool:
        """The execution of a lost run goes on elsewhere, or has ended; False when it is not lost (any more)."""
        return self._found("settle_lost_launch", run_id=run_id)

    def put_back(self, run_id: UUID) -> bool:
        """Queue a lost run again that had not begun yet; False when it is not lost (any more)."""

        def work(tx: Transaction) -> bool:
            found = tx.one("put_back_launch", run_id=run_id) is not None
            tx.one("announce_launch")
            return found

        return self._database.run(work)

    def taken(self) -> list[Row]:
        """Every run that a worker carries out, by lease."""
        return self._rows("launches_in_state", state="taken", limit=_MANY)

    def lost(self, limit: int = 100) -> list[Row]:
        """Runs whose worker is dead and that nobody has seen to, oldest lease first."""
        return self._rows("launches_in_state", state="lost", limit=limit)

    def of(self, run_id: UUID) -> Row | None:
        """The launch of a run."""
        return next(iter(self._rows("launch_of", run_id=run_id)), None)

    def of_worker(self, worker: Worker) -> Row | None:
        """What this worker holds."""
        found = self._rows("launch_of_worker", pool=worker.pool, pid=worker.pid, started=worker.started)
        return next(iter(found), None)

    def wished(self) -> list[Row]:
        """Taken runs that somebody wants to end, by lease."""
        return self._rows("launches_wished")

    def queued(self, limit: int = _MANY) -> int:
        """How many runs wait for a worker, counted up to `limit`."""
        return int(self._database.run(lambda tx: tx.only("count_queued", limit=limit)["n"]))

    def each_waiting(self, limit: int, act: Callable[[UUID], None]) -> None:
        """Act on each run that waits for a worker, oldest first, while nobody else takes it or acts on it.

        Args: act: quick, and harmless when it is done twice.
        """

        def work(tx: Transaction) -> None:
            for row in tx.all("lock_waiting_launches", limit=limit):
                act(row["run_id"])

        self._database.run(work)

    def say_why_they_wait(self, message: str) -> int:
        """Have the executions of the runs that wait say why; their first step says something else. Answers how many."""
        return self._database.run(lambda tx: tx.do("say_why_they_wait", message=message))

    def newer(self) -> tuple[int, int | None]:
        """How many queued rows are of a format newer than ours, and the lowest such format."""
        row = self._database.run(lambda tx: tx.only("newer_launches", format=FORMAT))
        return row["n"], row["format"]

    def hand_over(self, run_ids: Sequence[UUID]) -> None:
        """Have the executions of these runs park at the next place where they would see a cancel."""
        self._database.run(lambda tx: tx.do("hand_over_runs", run_ids=list(run_ids)))

    def _found(self, query: str, **values: object) -> bool:
        return self._database.run(lambda tx: tx.one(query, **values)) is not None

    def _rows(self, query: str, **values: object) -> list[Row]:
        return [_row(found) for found in self._database.run(lambda tx: tx.all(query, **values))]


def _row(found: DictRow) -> Row:
    return Row(**{**found, "state": LaunchState(found["state"])})


def refuse_when_full(queued: int, limit: int) -> None:
    """Args: queued: runs that wait. limit: how many may. Raises: Refused UNAVAILABLE, with the time to come back."""
    seconds = seconds_until_room(queued, limit, PER_SECOND)
    if seconds:
        raise Refused(
            Code.UNAVAILABLE,
            f"As many runs wait for a worker as may ({queued}). Try again in {seconds:.0f} s; if it stays so, "
            "look at the workers: tenant-pipelines stack status",
        )


def seconds_until_room(queued: int, limit: int, per_second: float) -> float:
    """How long until a full queue has room for one more: 0 when it has, else at least a second.

    Args: queued: runs that wait. limit: how many may. per_second: how many runs the pool ends in a second.
    """
    if queued < limit:
        return 0.0
    return max(1.0, (queued - limit + 1) / max(per_second, 0.01))
