"""Keeps a pool of warm processes: starts them, sees who is lost, passes interrupts on, and ends them.

One thread, no Dagster, no work of its own. What it knows of runs is in the queue, so that whatever it has decided can
be decided again by the next supervisor.
"""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from socket import socket
from typing import TypeVar

import psycopg

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.launcher import decisions
from tenant_pipelines.launcher.channel import Broken, Tell, Unfit
from tenant_pipelines.launcher.members import Member, Role, Starter
from tenant_pipelines.launcher.options import Options
from tenant_pipelines.launcher.ownership import Condition, Ownership, Taken
from tenant_pipelines.launcher.processes import memory_available
from tenant_pipelines.launcher.rows import Rows
from tenant_pipelines.ledger.launches import WISH

TURN = 0.5
"""Seconds at most between two looks at the processes."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the queue when nothing has been announced and nobody has died."""
TRY_AGAIN = 1.0
"""Seconds between two tries to reach a database that is away."""
WAKER_ENDS = 5.0
"""Seconds that the waker has for what it is doing, when the pool ends."""
DONE, DISPLACED, UNFIT = 0, 1, 2

Answer = TypeVar("Answer")


class Supervisor:
    """One pool.

    Args:
        ownership: makes the ledger's lock, at first and after an outage. start: makes processes. rows: the queue, as
            far as it concerns this pool. waker: whether there is one. tell: a line for people. signals: a byte for
            each signal, its number (signal.set_wakeup_fd).
    """

    def __init__(
        self,
        options: Options,
        *,
        ownership: Callable[[], Ownership],
        start: Starter,
        rows: Rows,
        waker: bool,
        tell: Callable[[str], None],
        signals: socket,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._make_ownership = ownership
        self._start = start
        self._rows = rows
        self._wanted = {Role.WORKER: options.size, Role.WAKER: int(waker)}
        self._tell = tell
        self._signals = signals
        self._now = now
        self._born = now()
        self._ownership: Ownership | None = None
        self._own_at = 0.0
        self._members: list[Member] = []
        self._life = 0
        self._failures = 0
        self._start_at = 0.0
        self._look_at = 0.0
        self._breaks = 0
        self._anew_at: float | None = None
        self._was_ready = False
        self._shown: tuple[Ownership, Condition] | None = None
        self._ends_at: float | None = None
        self._code = DONE

    @property
    def empty(self) -> bool:
        """There is no process yet."""
        return not self._members

    def own(self) -> None:
        """Take the ledger's lock. Raises: Taken; psycopg.OperationalError."""
        self._ownership = self._make_ownership()

    def end(self) -> None:
        """Begin no runs, have those that are under way handed over, and end; once more: at once."""
        if self._ends_at is not None:
            self._ends_at = self._now()
            return
        self._tell(f"ending: no new runs; those under way have {self._options.drain:.0f} s to be handed over")
        self._ends_at = self._now() + self._options.drain
        self._look_at = 0.0

    def renew(self) -> None:
        """Load everything anew, and replace every process by one that has it."""
        self._tell("loading everything anew")
        self._breaks = 0
        self._load_anew()

    def _load_anew(self) -> None:
        self._life += 1
        self._start.anew()
        self._failures, self._start_at, self._anew_at = 0, 0.0, None
        for member in self._members:
            if member.vitals.broken:
                member.finish(self._now())

    def run(self) -> int:
        """Until it is told to end; answers the exit code."""
        try:
            while self._ends_at is None or self._members:
                self._turn()
        finally:
            for member in self._members:
                member.process.kill()
                member.close()
            if self._ownership is not None:
                self._ownership.close()
        self._tell("ended")
        return self._code

    def _turn(self) -> None:
        spoken = self._wait()
        now = self._now()
        for member in self._members:
            for said in member.hear(now):
                self._obey(member, said, now)
        self._judge(now)
        self._bury(now)
        if self._owns(now, spoken):
            self._see_to_the_queue(now)
        if self._ends_at is not None:
            self._drain(now, self._ends_at)
        else:
            if self._can_begin_any(now):
                self._replace(now)
                self._fill(now)
            self._show(now)

    def _wait(self) -> bool:
        """Until something happens; answers whether the database has something to say."""
        wires = [member.wire.fileno() for member in self._members if not member.deaf]
        processes = [member.process.fileno() for member in self._members]
        database = [] if self._ownership is None else [self._ownership.fileno()]
        happened = wait([self._signals.fileno(), *database, *wires, *processes], TURN)
        if self._signals.fileno() in happened:
            for number in self._signals.recv(64):
                self._heed(signal.Signals(number))
        return any(one in happened for one in database)

    def _heed(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self.end()
            case signal.SIGHUP if self._ends_at is None:
                self.renew()
            case _:
                pass

    def _obey(self, member: Member, said: Tell | Unfit | Broken, now: float) -> None:
        match said:
            case Tell(text):
                self._tell(f"{member}: {text}")
            case Unfit(reason) if self._ends_at is None:
                self._tell(reason)
                self._code = UNFIT
                self.end()
            case Broken(reason) if self._ends_at is None:
                self._is_broken(member, reason, now)
            case Unfit() | Broken():
                pass

    # The code location

    def _is_broken(self, member: Member, reason: str, now: float) -> None:
        """The first worker that says so of what was loaded last stays and tells the runs that wait."""
        broken = [one for one in self._members if one.vitals.broken and one.finishing is None]
        telling = next((one for one in broken if one.role is Role.WORKER), None)
        if member is not telling or member.life < self._life:
            member.finish(now)
        if member.life < self._life or self._anew_at is not None:
            return
        self._breaks += 1
        pause = decisions.pause_before_anew(self._breaks)
        self._anew_at = now + pause
        well = any(one.vitals.ready for one in self._members)
        rest = "those that are there go on with what they have loaded" if well else "no run is begun, and none is lost"
        self._tell(f"{reason}; {rest}; the next try is in {pause:g} s, or at once: kill -HUP {os.getpid()}")

    def _can_begin_any(self, now: float) -> bool:
        """Not while copies would have no code location; when it is time, everything is loaded anew."""
        if self._anew_at is not None and now >= self._anew_at:
            self._load_anew()
        if self._breaks and any(one.vitals.ready and one.life == self._life for one in self._members):
            self._breaks = 0
            self._tell("the code location can be imported again")
        return self._anew_at is None

    # The processes

    def _judge(self, now: float) -> None:
        """Kill who is lost. What it held is seen to like that of everyone who has died."""
        for member in self._members:
            member.look(now)
            why = decisions.why_lost(member.vitals, now, self._options)
            if why is None and member.finishing is not None and member.lease is None:
                late = now - member.finishing >= self._options.kill_after
                why = "it was to end, carries out nothing, and does not end" if late else None
            if why is not None and not member.process.ended():
                self._tell(f"{member} is killed: {why}")
                member.process.kill()

    def _bury(self, now: float) -> None:
        for member in [one for one in self._members if one.process.ended()]:
            for said in member.hear(now):
                self._obey(member, said, now)
            self._members.remove(member)
            self._look_at = 0.0
            if not member.vitals.ready and member.finishing is None:
                self._has_not_begun(f"{member} has died before it was ready", now)
            elif member.finishing is None:
                self._tell(f"{member} has died")
            member.close()

    def _has_not_begun(self, what: str, now: float) -> None:
        self._failures += 1
        pause = decisions.pause_before_start(self._failures)
        self._start_at = now + pause
        self._tell(f"{what}; the next try is in {pause:.1f} s")

    def _replace(self, now: float) -> None:
        """Have those end that have done enough, each when its successor is ready, or first where memory is short."""
        for member in [one for one in self._members if one.finishing is None and one.vitals.ready]:
            anew = "everything was loaded anew" if member.life < self._life else None
            why = anew or decisions.why_replaced(member.vitals, now, self._options)
            if why is None:
                continue
            if member.successor in self._members:
                if member.successor.vitals.ready:
                    member.finish(now)
            elif not decisions.successor_first(memory_available(), self._options):
                self._tell(f"{member} is replaced once it has ended, for want of memory: {why}")
                member.finish(now)
            elif now >= self._start_at:
                self._tell(f"{member} is replaced: {why}")
                member.successor = self._begin(member.role, now)

    def _fill(self, now: float) -> None:
        """Start who is missing; of two of whom one is to succeed the other, one is missed."""
        for role, wanted in self._wanted.items():
            there = [one for one in self._members if one.role is role]
            missed = wanted - len(there) + sum(one.successor in there for one in there)
            for _ in range(missed):
                if now >= self._start_at:
                    self._begin(role, now)

    def _begin(self, role: Role, now: float) -> Member | None:
        member = self._start(role, self._life)
        if member is None:
            self._has_not_begun(f"a {role} has died at once", now)
        else:
            self._members.append(member)
        return member

    def _show(self, now: float) -> None:
        """Say once that all are ready, and let others see in the database that they are, or that none can be."""
        ready = all(
            sum(one.vitals.ready for one in self._members if one.role is role) >= wanted
            for role, wanted in self._wanted.items()
        )
        if ready:
            self._failures = 0
        if ready and not self._was_ready and self._ownership is not None:
            self._was_ready = True
            size, began = self._wanted[Role.WORKER], (now - self._born) * 1000
            self._tell(f"ready: {size} worker{'s' if size > 1 else ''} in {began:.0f} ms")
        broken = self._breaks and not any(one.vitals.ready for one in self._members)
        if ready or broken:
            self._let_see(Condition.READY if ready else Condition.BROKEN)

    def _let_see(self, condition: Condition) -> None:
        owned = self._ownership
        if owned is not None and self._shown != (owned, condition):
            self._shown = owned, condition
            self._asking_the_database(lambda: owned.show(condition))

    def _drain(self, now: float, ends_at: float) -> None:
        """Workers first: the waker sees to what they could not finish."""
        workers = [one for one in self._members if one.role is Role.WORKER]
        for member in workers:
            member.finish(now)
            if now >= ends_at and not member.process.ended():
                self._tell(f"{member} is killed: the time to hand over is up")
                member.process.kill()
        if workers:
            return
        for member in self._members:
            member.finish(now)
            if now - (member.finishing or now) >= WAKER_ENDS:
                member.process.kill()

    # The queue

    def _owns(self, now: float, spoken: bool) -> bool:
        """Whether the lock is ours; when the connection is lost it is taken again before anything else is done."""
        if self._ownership is None and now >= self._own_at:
            self._own_again(now)
        if self._ownership is None:
            return False
        if spoken and any(heard.payload == WISH for heard in self._asking_the_database(self._ownership.heard) or ()):
            self._look_at = 0.0
        return self._ownership is not None

    def _own_again(self, now: float) -> None:
        try:
            self._ownership = self._make_ownership()
            self._look_at = 0.0
            self._tell("the ledger's database is back")
        except psycopg.OperationalError:
            self._own_at = now + TRY_AGAIN
        except Taken as taken:
            self._own_at = now + TRY_AGAIN
            if not taken.by_us:
                self._tell(f"while the database was away: {taken}")
                self._give_way(now)

    def _give_way(self, now: float) -> None:
        """Another pool has the lock: for it our workers are dead, so they must be."""
        self._code, self._ends_at = DISPLACED, now
        for member in self._members:
            member.process.kill()

    def _asking_the_database(self, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except psycopg.OperationalError:
            self._tell("the ledger's database does not answer; workers go on with what they do")
            if self._ownership is not None:
                self._ownership.close()
            self._ownership = None
            return None

    def _see_to_the_queue(self, now: float) -> None:
        if now < self._look_at:
            return
        try:
            again = self._rows.see_to(self._members, now, ending=self._ends_at is not None)
            self._look_at = now + min(again, LOOK_EVERY)
        except Refused:
            self._look_at = now + TRY_AGAIN
