"""One pool for a ledger: whoever has the lock of the session. The same connection hears what is announced."""

import os
import socket
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from tenant_pipelines.ledger.launches import LAUNCHES
from tenant_pipelines.ledger.listening import Heard, Listener
from tenant_pipelines.ledger.named_sql import statement

LOCK = 0x74705F776F726B  # "tp_work"
NAME = "tenant-pipelines pool"


class Condition(StrEnum):
    """What a pool lets others see of itself."""

    READY = "ready"
    """All its workers are."""
    BROKEN = "broken"
    """It carries out nothing: its code location cannot be imported."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the pool of a ledger.

    Args: name: where it runs, as host:pid. backend: its connection's process in PostgreSQL. condition: None while it
        begins.
    """

    name: str
    backend: int
    condition: Condition | None

    @property
    def ready(self) -> bool:
        """All its workers are."""
        return self.condition is Condition.READY

    @property
    def broken(self) -> bool:
        """It carries out nothing, for want of a code location that can be imported."""
        return self.condition is Condition.BROKEN

    def __str__(self) -> str:
        return f"{self.name} (its connection in PostgreSQL is process {self.backend})"


class Taken(Exception):
    """Another pool works for this ledger."""

    def __init__(self, holder: Holder | None) -> None:
        self.by_us = holder is not None and holder.name == this_one()
        """By an earlier session of this very process, which the server has not given up yet."""
        super().__init__(
            f"Another pool of workers works for this ledger already: {holder or 'it has just ended'}. "
            "One is enough, and two would take each other's workers for dead. "
            "Way out: end that one first, or give it more workers (--size)."
        )


class Ownership:
    """The lock, for as long as the connection lives.

    Raises: Taken; psycopg.OperationalError when the database is away.
    """

    def __init__(self, url: str) -> None:
        self._listener = Listener(url, [LAUNCHES], name=_name())
        try:
            row = self._listener.connection.execute(statement("lock_pool"), {"lock": LOCK}).fetchone()
            if row is None or not row[0]:
                raise Taken(_holder(self._listener.connection))
        except BaseException:
            self._listener.close()
            raise

    def fileno(self) -> int:
        """Readable when something was announced, or the connection is lost."""
        return self._listener.fileno()

    def heard(self) -> list[Heard]:
        """What was announced. Raises: psycopg.OperationalError when the connection, and so the lock, is lost."""
        return self._listener.heard()

    def show(self, condition: Condition) -> None:
        """Let others see how the pool is (`holder`). Raises: as `heard`."""
        self._listener.connection.execute(statement("name_session"), {"name": _name(condition)})

    def close(self) -> None:
        """Give the lock back."""
        self._listener.close()


def holder(url: str) -> Holder | None:
    """Which pool works for this ledger; None when there is none.

    Raises: psycopg.OperationalError when the database is away.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        return _holder(connection)


def _holder(connection: "psycopg.Connection[tuple[object, ...]]") -> Holder | None:
    row = connection.execute(statement("pool_holder"), {"lock": LOCK}).fetchone()
    if row is None:
        return None
    where, _, said = str(row[0]).removeprefix(NAME).strip().partition(" ")
    return Holder(where or "unknown", int(str(row[1])), next((one for one in Condition if one == said), None))


def _name(said: str = "") -> str:
    return f"{NAME} {this_one()} {said}".strip()


def this_one() -> str:
    """This process, as others are shown it; PostgreSQL keeps 63 bytes of a session's name."""
    return f"{socket.gethostname()[:24]}:{os.getpid()}"
