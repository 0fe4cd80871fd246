"""The events of one run on their way into Dagster's event log: written in groups, in order, each exactly once.

An event that Dagster stores costs a statement, a notification and two commits, and a step has three of them. Here they
wait in memory and go in one statement:

* at each end of a step, before the next one begins; where steps end less than 0.05 s after the last group was stored,
  several of them go together, 0.05 s after their first event;
* at each change of the run's status, before it is made, and before anything of the event log is read in this process;
* at the latest 0.2 s after the oldest one (a thread sees to that: a long step shows as started), or when 64 wait.

So a process that is killed takes with it at most what its present step has told in the last 0.2 s, and the ends of
steps of the last 0.05 s; and what is stored of a run is always a beginning of what it told. Nothing of ours depends on
more: what has been done is in the ledger, in another database, committed before the step's end is told here.

While Dagster's database is away its events wait, and no step fails or stands still for it. Only at a change of the
run's status does the run wait with them, because after its last one nobody would write them. Whether a group was stored
whose answer was lost is looked up before it is written again.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from tenant_pipelines.runs import pool

Row = Mapping[str, Any]
"""An event as a row of Dagster's table, without its id."""

LATEST = 0.2
"""Seconds that an event waits at most while the database answers."""
APART = 0.05
"""Seconds that the end of a step waits at most; also those between two groups where steps end quickly."""
MOST = 64
"""Events that wait at most while the database answers."""
PATIENCE = 300.0
"""Seconds for which a run waits with a change of its status for the database."""
_AGAIN = 1.0
"""Seconds between two tries of the thread while the database is away."""


class Table(Protocol):
    """Where the events go."""

    def write(self, rows: Sequence[Row]) -> int:
        """Store them all or none, in order; answers the id of the last one."""
        ...

    def holds(self, row: Row, after: int) -> bool:
        """Whether that very row is stored under an id above that one."""
        ...


class EventGroup:
    """What has been told and is not stored yet.

    Args:
        latest, apart: seconds, see LATEST and APART; with `apart` 0 each end of a step is a group of its own.
        last_id: an id of the table that is lower than any of this run's future events; 0 is always right.
    """

    def __init__(
        self, table: Table, *, latest: float = LATEST, apart: float = APART, most: int = MOST, last_id: int = 0
    ) -> None:
        self._table = table
        self._latest = latest
        self._apart = apart
        self._most = most
        self._last_id = last_id
        self._waiting: list[Row] = []
        self._uncertain = 0  # how many of them were on their way when the connection was lost
        self._stored_at = 0.0
        self._with_end = False  # whether one of them is the end of a step that is left to the thread
        self._away = False
        self._refused: Exception | None = None
        self._writing = threading.RLock()
        self._told = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_in_time, name="event-group", daemon=True)
        self._thread.start()

    def add(self, row: Row) -> None:
        """Take an event; does not wait for the database unless many wait already."""
        with self._told:
            self._waiting.append(row)
            full = len(self._waiting) >= self._most
            if len(self._waiting) == 1:
                self._told.notify()
        if full:
            self._settle()

    def end_step(self) -> None:
        """Store what waits, at once or with the ends that may follow quickly, if the database answers.

        Raises: what the database says about an event that it refuses; that one is lost, the others are stored.
        """
        if time.monotonic() - self._stored_at < self._apart:
            self._with_end = True
        else:
            self._settle()

    def _settle(self) -> None:
        if self._away:  # then the thread tries again and again, and a step has no reason to wait for it
            return
        try:
            self.flush()
        except Exception as error:
            if not pool.is_away(error):
                raise

    def flush(self, patience: float = 0.0) -> None:
        """Store what waits.

        Args: patience: seconds for which it is tried again while the database is away.
        Raises: as `end_step`; the database's error when it stays away, and then everything still waits.
        """
        pool.patient(patience)(self._write)

    def close(self, patience: float = PATIENCE) -> None:
        """Store what waits and end the thread.

        Raises: as `flush`.
        """
        try:
            self.flush(patience)
        finally:
            self._closed.set()
            with self._told:
                self._told.notify()
            self._thread.join()

    def _write(self) -> None:
        with self._writing:
            self._look_up_uncertain()
            with self._told:
                rows = list(self._waiting)
            try:
                if rows:
                    self._store(rows)
            except Exception as error:
                if pool.is_away(error):
                    raise
                self._store_one_by_one(rows)
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def _store(self, rows: Sequence[Row]) -> None:
        self._uncertain = len(rows)
        try:
            last_id = self._table.write(rows)
        except Exception as error:  # nothing else: after an interrupt they may be stored or not
            self._away = pool.is_away(error)
            if not self._away:  # the answer did come: nothing of it was stored
                self._uncertain = 0
            raise
        self._away = False
        self._stored_at = time.monotonic()
        self._forget(len(rows))
        self._last_id = last_id

    def _store_one_by_one(self, rows: Sequence[Row]) -> None:
        """One of them is refused: it must not hold back the others."""
        for row in rows:
            try:
                self._store([row])
            except Exception as error:
                if pool.is_away(error):
                    raise
                self._refused = self._refused or error
                self._forget(1)

    def _look_up_uncertain(self) -> None:
        """They went in one statement, so that the first one speaks for all."""
        if self._uncertain and self._waiting and self._table.holds(self._waiting[0], self._last_id):
            self._forget(self._uncertain)
        self._uncertain = 0

    def _forget(self, stored: int) -> None:
        with self._told:
            del self._waiting[:stored]
            self._with_end = self._with_end and bool(self._waiting)
        self._uncertain = 0

    def _write_in_time(self) -> None:
        while self._wait_for_something():
            self._closed.wait(self._apart)  # from the first one on; what comes meanwhile goes with it
            if not self._with_end:  # an end that comes from now on is stored at once
                self._closed.wait(self._latest - self._apart)
            with suppress(Exception):  # a refusal is raised at the next end of a step, see _refused
                self._write_from_thread()
            if self._away:
                self._closed.wait(_AGAIN)

    def _write_from_thread(self) -> None:
        try:
            self._write()
        except Exception as error:
            if not pool.is_away(error):
                self._refused = error
            raise

    def _wait_for_something(self) -> bool:
        with self._told:
            self._told.wait_for(lambda: self._waiting or self._closed.is_set())
        return not self._closed.is_set()
