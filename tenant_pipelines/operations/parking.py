"""Looks after parked executions: what goes on outside is looked at, and whoever is to go on is woken.

Looks happen outside of runs, each system's in threads of their own, so that one that does not answer holds up nobody
who waits for another. Whether somebody is woken is decided by a compare-and-set, so any number may look at once.
"""

from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from uuid import UUID

from tenant_pipelines.domain.call import Call, DeadlinePassed
from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.ports import Look
from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.ledger import waking
from tenant_pipelines.ledger.waking import Waiting
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import wake
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.decisions import between_looks
from tenant_pipelines.saga.step import Step
from tenant_pipelines.saga.work import Looking, World

PAGE = 100
"""Parked executions of one pass."""
LOOK_TAKES = 4.0
"""Seconds at most."""
LEASE = LOOK_TAKES + 1.0
"""Seconds for which an execution that is being looked at counts as not due."""
AT_ONCE = 6
"""Looks at one system at a time."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass came to: executions woken, looks begun, looks put off because their system does not answer."""

    woken: int
    looked: int
    put_off: int


def wants_look(waiting: Waiting, catalogue: Catalogue, now: datetime) -> bool:
    """Whether one that is due is looked at first; else it is woken, and its step sees for itself.

    The last look within the step's time is the step's own, so that it can say what it has waited for in vain.
    """
    execution = waiting.execution
    cancelled = execution.cancel_requested_by is not None and execution.parked_side is Side.DO
    if cancelled or waiting.token is None or waiting.look_every is None or waiting.look_until is None:
        return False
    step = _step(catalogue, waiting)
    return step is not None and step.has_look and (waiting.look_until - now).total_seconds() > waiting.look_every


def seconds_to_next_look(waiting: Waiting, now: datetime) -> float:
    """After a look that has found nothing to do; never past the last look within the step's time."""
    execution = waiting.execution
    if waiting.look_every is None or waiting.look_until is None or execution.parked_at is None:
        return 0.0
    after = between_looks(waiting.look_every, waited=(now - execution.parked_at).total_seconds())
    last = (waiting.look_until - now).total_seconds() - waiting.look_every
    return max(min(after, last), 0.0)


@dataclass
class _Lane:
    """The looks at one system. Args: ailing: the last one got no answer."""

    threads: ThreadPoolExecutor
    looking: set[UUID] = field(default_factory=set[UUID])
    ailing: bool = False

    @property
    def room(self) -> bool:
        """A system that does not answer is asked by one at a time, until it does."""
        return len(self.looking) < (1 if self.ailing else AT_ONCE)


class Looks:
    """The looks of one process, which go on while it does other things; to be closed with it.

    Args:
        world: the outside systems; their adapters are used by several threads. None: whatever is due is woken.
        by: who is named.
    """

    def __init__(self, desk: Desk, world: World | None, *, by: str = "waker") -> None:
        self._desk = desk
        self._world = world
        self._by = by
        self._lock = Lock()
        self._lanes: dict[str, _Lane] = defaultdict(lambda: _Lane(ThreadPoolExecutor(AT_ONCE, "look")))
        self._going: set[Future[None]] = set()
        self._errors: list[Exception] = []

    def pass_over(self) -> Passed:
        """See to everything that is due; answers at once, while looks go on.

        Raises: ExceptionGroup of what went wrong since the last pass, after all has been seen to.
        """
        desk, now = self._desk, self._desk.clock.now()
        to_look, to_wake = list[Waiting](), list[Waiting]()
        for waiting in waking.due(desk.ledger.database, limit=PAGE):
            if waiting.due:
                looks_first = self._world is not None and wants_look(waiting, desk.provisioning, now)
                (to_look if looks_first else to_wake).append(waiting)
        looked, put_off = self._look_at(to_look, now) if to_look else (0, 0)
        woken = sum(self._wake(waiting) for waiting in to_wake)
        self._raise_errors()
        return Passed(woken, looked, put_off)

    def look(self, waiting: Waiting) -> Look | None:
        """One look, here and now; None when the system could not be asked."""
        step, world = _step(self._desk.provisioning, waiting), self._world
        if step is None or world is None or waiting.token is None:
            return Look.MOVED
        clock = world.clock
        call = Call("look", clock.monotonic() + LOOK_TAKES, _nothing_is_written, clock.monotonic)
        try:
            return step.run_look(Looking(waiting.mark, waiting.placement, waiting.token, call, world))
        except (Outage, DeadlinePassed):
            return None
        except Exception:
            return Look.MOVED

    def rest(self) -> None:
        """Wait until every look that goes on has come to its end."""
        wait(self._going)

    def close(self) -> None:
        """Begin no further look, and wait for those that go on."""
        for lane in self._lanes.values():
            lane.threads.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Looks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _look_at(self, due: list[Waiting], now: datetime) -> tuple[int, int]:
        """Begin as many looks as there is room for. What has none stays due, unless its system does not answer."""
        self._going = {look for look in self._going if not look.done()}
        begun: list[Waiting] = []
        put_off: list[tuple[Waiting, float]] = []
        with self._lock:
            for waiting in due:
                lane = self._lanes[str(waiting.execution.parked_step)]
                if waiting.execution.id in lane.looking:
                    put_off.append((waiting, LEASE))
                elif lane.room:
                    lane.looking.add(waiting.execution.id)
                    begun.append(waiting)
                elif lane.ailing:
                    put_off.append((waiting, seconds_to_next_look(waiting, now)))
        moved = waking.look_later(self._desk.ledger.database, [*put_off, *((waiting, LEASE) for waiting in begun)])
        ours = {waiting.execution.id for waiting in begun}
        leased = {waiting.execution.id: waiting for waiting in moved if waiting.execution.id in ours}
        for waiting in begun:
            lane = self._lanes[str(waiting.execution.parked_step)]
            if (mine := leased.get(waiting.execution.id)) is None:  # somebody else looks at it, or has woken it
                self._leave(lane, waiting)
            else:
                self._going.add(lane.threads.submit(self._look_and_act, lane, mine))
        return len(leased), len(moved) - len(leased)

    def _look_and_act(self, lane: _Lane, waiting: Waiting) -> None:
        try:
            found = self.look(waiting)
            lane.ailing = found is None
            if found is Look.MOVED:
                wake(self._desk, waiting.execution, by=self._by)
            else:
                seconds = seconds_to_next_look(waiting, self._desk.clock.now())
                waking.look_later(self._desk.ledger.database, [(waiting, seconds)])
        except Exception as error:
            with self._lock:
                self._errors.append(error)
        finally:
            self._leave(lane, waiting)

    def _leave(self, lane: _Lane, waiting: Waiting) -> None:
        with self._lock:
            lane.looking.discard(waiting.execution.id)

    def _wake(self, waiting: Waiting) -> bool:
        try:
            return wake(self._desk, waiting.execution, by=self._by)
        except Exception as error:
            with self._lock:
                self._errors.append(error)
            return False

    def _raise_errors(self) -> None:
        with self._lock:
            errors, self._errors = self._errors, []
        if errors:
            raise ExceptionGroup(f"{len(errors)} parked executions could not be seen to", errors)


def _step(catalogue: Catalogue, waiting: Waiting) -> Step | None:
    return next((step for step in catalogue.steps if step.name == waiting.execution.parked_step), None)


def _nothing_is_written() -> None:
    raise RuntimeError("a look writes nothing")
