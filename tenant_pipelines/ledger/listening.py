"""Hears what the database announces (LISTEN): a connection of its own, that comes back after an outage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql


@dataclass(frozen=True, slots=True)
class Heard:
    """One announcement. Args: channel: as in NOTIFY. payload: may be empty."""

    channel: str
    payload: str


class Listener:
    """A connection that listens.

    What was announced while it was not connected is not heard: whoever (re)connects looks at the tables once.

    Args:
        url: `postgresql://` of the role control_plane. channels: as in NOTIFY. name: application_name in PostgreSQL.
    Raises: psycopg.OperationalError (of every method) when the server is away; then make another one.
    """

    def __init__(self, url: str, channels: Sequence[str], *, name: str = "tenant-pipelines") -> None:
        self._connection: psycopg.Connection[Any] = psycopg.connect(
            url, autocommit=True, connect_timeout=5, application_name=name, keepalives_idle=30, keepalives_interval=10
        )
        try:
            for channel in channels:
                self._connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        except BaseException:
            self._connection.close()
            raise

    @property
    def connection(self) -> "psycopg.Connection[Any]":
        """For what has to live as long as it, as a session's lock; autocommits."""
        return self._connection

    def fileno(self) -> int:
        """To be waited on together with others; readable when there is something to be heard, or it is broken."""
        return self._connection.fileno()

    def heard(self, seconds: float = 0) -> list[Heard]:
        """What was announced since the last call; waits for the first for so long."""
        found = self._connection.notifies(timeout=seconds, stop_after=1 if seconds else None)
        return [Heard(notice.channel, notice.payload) for notice in found]

    def close(self) -> None:
        """Hear no more."""
        self._connection.close()
