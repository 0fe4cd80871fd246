"""Pushes on what is due, one thing after the other; what cannot be pushed on rests for a while and holds nobody up."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.ledger.due import Due, What
from tenant_pipelines.operations.lost import continue_lost_workers
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.runs import NotLaunched

LONGEST_SLEEP = 1.0
"""Seconds; what nobody has announced is found after so long."""
SHORTEST_SLEEP = 0.02
"""Between two looks: announcements that come together are answered together."""
REST = 5.0
"""Seconds for which something that could not be pushed on is left alone; the guard looks as often."""
LOOKED = 0.5
"""The same for parked executions that were looked after: the looks themselves may still be under way."""
TOLD_EVERY = 60.0
"""Seconds between two lines in the log about the same thing."""

_log = logging.getLogger("tenant_pipelines.waker")


@dataclass
class Rests:
    """What rests, and until when. Times are monotonic, in seconds."""

    now: Callable[[], float] = time.monotonic
    _until: dict[UUID, float] = field(default_factory=dict[UUID, float])
    _told: dict[UUID, float] = field(default_factory=dict[UUID, float])

    def awake(self, due: Sequence[Due]) -> list[Due]:
        """Those that are due and do not rest. What is not due any more is forgotten."""
        ids = {one.id for one in due}
        for kept in (self._until, self._told):
            for gone in kept.keys() - ids:
                del kept[gone]
        return [one for one in due if one.seconds <= 0 and self._until.get(one.id, 0.0) <= self.now()]

    def rest(self, ids: Sequence[UUID], seconds: float) -> None:
        """Leave them alone for so long."""
        self._until.update(dict.fromkeys(ids, self.now() + seconds))

    def may_tell(self, one: UUID) -> bool:
        """Whether a line in the log is due for it; counted as written."""
        if self.now() < self._told.get(one, 0.0):
            return False
        self._told[one] = self.now() + TOLD_EVERY
        return True

    def next(self, due: Sequence[Due]) -> float:
        """Seconds until the first of them needs a push, LONGEST_SLEEP at most."""
        waits = (max(one.seconds, self._until.get(one.id, 0.0) - self.now()) for one in due)
        return min([LONGEST_SLEEP, *(max(SHORTEST_SLEEP, wait) for wait in waits)])


@dataclass
class Waker:
    """Pushes on what is due.

    Args:
        desk: the operations'. parked: looks after the parked executions that are due. by: who is named.
    """

    desk: Desk
    parked: Callable[[], object]
    by: str = "waker"
    rests: Rests = field(default_factory=Rests)

    def push(self, due: Sequence[Due]) -> float:
        """Push on all that is due; answers the seconds until the next look. What fails is told in the log."""
        awake = self.rests.awake(due)
        if lost := [one.id for one in awake if one.what is What.LOST]:
            self._try(lost, lambda: continue_lost_workers(self.desk, by=self.by))
        if parked := [one.id for one in awake if one.what is What.PARKED]:
            self.rests.rest(parked, LOOKED)
            self._try(parked, self.parked)
        for one in awake:
            if one.what is What.EXECUTION:
                self._push_one(one.id)
        return self.rests.next(due)

    def _push_one(self, execution_id: UUID) -> None:
        def work() -> None:
            execution = self.desk.ledger.execution_of_run(execution_id)
            if execution is not None and reconcile(self.desk, execution, by=self.by) is Push.NOTHING:
                self.rests.rest([execution_id], REST)

        self._try([execution_id], work)

    def _try(self, about: Sequence[UUID], work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self.rests.rest(about, REST)
            if self.rests.may_tell(about[0]):
                _log.warning("%s cannot be pushed on; tried again every %.0f s: %s", about[0], REST, said_of(error))


def said_of(error: Exception) -> str:
    """Only what is our own is repeated: a driver's words may hold anything."""
    if isinstance(error, ExceptionGroup):
        return "; ".join(sorted({said_of(inner) for inner in error.exceptions}))
    return f"{type(error).__name__}: {error}" if isinstance(error, Refused | NotLaunched) else type(error).__name__
