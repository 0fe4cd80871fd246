"""The supervisor's part of the queue: runs that are carried out, by whom, and which of them need something."""

from collections.abc import Callable, Sequence
from uuid import UUID

from tenant_pipelines.launcher.members import Member
from tenant_pipelines.launcher.options import Options
from tenant_pipelines.launcher.processes import find
from tenant_pipelines.ledger.launches import Launches, Row

SOON = 0.5
"""Seconds until the next look, while something is under way."""
NEWER_EVERY = 60.0
"""Seconds between two looks for rows that only a newer release understands."""


class Rows:
    """What a look at the queue leads to. Every look sees everything anew: what failed is tried again by the next.

    Args:
        pool: this life of the supervisor. born: when it began. tell: a line for people.
    """

    def __init__(
        self, launches: Launches, options: Options, *, pool: UUID, born: float, tell: Callable[[str], None]
    ) -> None:
        self._launches = launches
        self._options = options
        self._pool = pool
        self._former_until = born + options.former
        self._tell = tell
        self._handed_over: set[UUID] = set()
        self._newer = 0
        self._newer_at = 0.0

    def see_to(self, members: Sequence[Member], now: float, *, ending: bool) -> float:
        """Look once; answers after how many seconds to look again.

        Args: members: who lives. ending: the pool does, so that runs are to be handed over.
        Raises: Refused when the database is away.
        """
        alive = {member.worker: member for member in members}
        rows = self._launches.taken()
        for row in rows:
            member = alive.get(row.worker())
            if member is not None:
                self._held(row, member, now)
            elif row.worker().pool == self._pool:
                self._lost(row, "has died")
            else:
                self._former(row, now)
        strangers = [row for row in rows if row.worker().pool != self._pool]
        self._hand_over(rows if ending else strangers)
        self._tell_of_newer(now)
        return SOON if ending or strangers or any(row.wish for row in rows) else float("inf")

    def _held(self, row: Row, member: Member, now: float) -> None:
        """Pass on a wish, while nobody can end the run; kill who does not obey."""
        lease = row.held()
        if row.wish is None:
            return
        if lease.number not in member.asked:
            if self._launches.while_held(lease, lambda: member.interrupt(lease.number)):
                member.asked[lease.number] = now
        elif now - member.asked[lease.number] >= self._options.kill_after:

            def kill() -> None:
                member.process.kill()

            if self._launches.give_up(lease, kill):
                self._tell(f"{member} is killed: it did not end run {row.run_id} within {self._options.kill_after:g} s")

    def _lost(self, row: Row, how: str) -> None:
        if self._launches.give_up(row.held()):
            self._tell(f"run {row.run_id} is lost: worker {row.worker_pid} {how}; it goes on in another one")

    def _former(self, row: Row, now: float) -> None:
        """Of a pool that is gone. Its workers know that, and hand over; who is not done soon is killed."""
        worker = row.worker()
        process = find(worker.pid, worker.started)
        if process is None:
            self._lost(row, "of an earlier pool has died")
            return
        try:
            if now >= self._former_until or process.stopped():
                process.kill()
                self._lost(row, "of an earlier pool was killed")
        finally:
            process.close()

    def _hand_over(self, rows: Sequence[Row]) -> None:
        """Have these runs park as soon as they can; each is told once."""
        runs = {row.run_id for row in rows} - self._handed_over
        if runs:
            self._launches.hand_over(sorted(runs))
            self._handed_over |= runs

    def _tell_of_newer(self, now: float) -> None:
        if now < self._newer_at:
            return
        self._newer_at = now + NEWER_EVERY
        count, lowest = self._launches.newer()
        if count and count != self._newer:
            self._tell(
                f"only a newer release can carry out {count} of the runs that wait (format {lowest} and higher); "
                "they are left alone. Way out: start the pool of that release"
            )
        self._newer = count
