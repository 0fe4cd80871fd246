"""What is due, asked over the connection that also hears of it: the waker's view of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from tenant_pipelines.ledger.launches import WAKE
from tenant_pipelines.ledger.listening import Listener
from tenant_pipelines.ledger.named_sql import statement

UNMADE = 5.0
"""Seconds after which a run that is recorded and was never handed over counts as forgotten by whoever recorded it."""
LIMIT = 200


class What(StrEnum):
    """What is due."""

    LOST = "lost"
    """A run whose worker is lost."""
    PARKED = "parked"
    """An execution whose parked step is to be looked at."""
    EXECUTION = "execution"
    """An execution that nobody acts for."""


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that is due. Args: id: of run or execution. seconds: until it is due; 0 or less: it is."""

    what: What
    id: UUID
    seconds: float


class DueList:
    """A connection that listens for wake-ups and looks at what is due.

    Raises: psycopg.OperationalError (of every method) when the server is away; then make another one.
    """

    def __init__(self, url: str) -> None:
        self._listener = Listener(url, (WAKE,), name="tenant-pipelines-waker")

    def look(self) -> Sequence[Due]:
        """What is due by now or within a second, soonest first; one statement."""
        rows = self._listener.connection.execute(statement("due"), {"unmade": UNMADE, "limit": LIMIT}).fetchall()
        return [Due(What(what), found, seconds) for what, found, seconds in rows]

    def fileno(self) -> int:
        """Readable when there is something to be heard."""
        return self._listener.fileno()

    def heard(self) -> bool:
        """Whether anything was announced since the last look; waits for nothing."""
        return bool(self._listener.heard())

    def close(self) -> None:
        """Look no more."""
        self._listener.close()
