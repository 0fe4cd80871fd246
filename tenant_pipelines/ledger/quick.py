"""The quick way: a step begins in two statements and ends in one, without a lock that is held between them.

It is for a run that has begun a step before: it knows the execution as it was right after that, version included, and
that it might act. The statement that writes takes the lock, and writes nothing unless the execution is still of that
version. Whoever asks for a cancel, claims, parks, wakes or ends an execution changes its row, and so its version; then
the usual way finds out what there is to be done. So it does for all that is not the plain case.
"""

from uuid import UUID

import psycopg.errors
from psycopg.rows import DictRow

from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.ledger.beginning import Names, applies, start
from tenant_pipelines.ledger.steps import BEHIND, Entry, recorded_done
from tenant_pipelines.saga.ledger import Begun
from tenant_pipelines.saga.outcomes import Done


class Seen:
    """What a run knows of its execution: nothing before it has begun its first step."""

    def __init__(self) -> None:
        self._side: Side | None = None
        self._execution: DictRow | None = None

    def keep(self, side: Side, execution: DictRow) -> None:
        """The run has begun a step. Args: execution: as it is now; a later beginning changes it in its place."""
        self._side, self._execution = side, execution

    def of(self, side: Side, run_id: UUID, tenant_id: UUID) -> DictRow | None:
        """The execution, where this run might act for it, on this side, for this tenant."""
        held, wanted = self._execution, (side, run_id, tenant_id)
        return held if held is not None and wanted == (self._side, held["run_id"], held["tenant_id"]) else None


def begin(entry: Entry, names: Names) -> Begun | None:
    """Make the intent durable; None where that is for the usual way.

    Raises: Refused as of `applies`.
    """
    before = entry.before()
    if before["hand_over"] or before["state"] in BEHIND or not applies(entry, before):
        return None
    try:
        return start(entry, names, before)
    except psycopg.errors.UniqueViolation:  # in the history: somebody has told something at the same time
        return None


def finish(entry: Entry, attempt: int, done: Done) -> bool:
    """Record the effect of a step after which the execution just goes on; False where that is for the usual way."""
    try:
        return bool(recorded_done(entry, attempt, done))
    except psycopg.errors.UniqueViolation:
        return False
