"""Connections to Dagster's database: one small pool for each process, url and set of limits.

Dagster's own storages open a connection for each group of statements, about a hundred for a provisioning. A pool is
never used across a fork: a child asks with its own process id and so gets its own.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import sqlalchemy
import tenacity
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.pool import ConnectionPoolEntry as Entry

DRIVER = "postgresql+psycopg2"
"""dagster-postgres closes its own connections under psycopg 3, which SQLAlchemy takes for a bare `postgresql://`."""

_BARE = ("postgresql", "postgres", DRIVER)
_FREE_AGAIN = 30.0
"""Seconds that a thread waits for another one's connection."""

_FRESH = 1.0
"""Seconds after its last use for which a connection is trusted; whoever writes for a run tries again by itself."""

_ALIVE = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


class InvalidStorage(Exception):
    """The storage of dagster.yaml is set up in a way that cannot work, or that shows a secret."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one pool; times in seconds.

    Args:
        kept: connections that stay open between two uses.
        at_most: open at once; those above `kept` are closed after use.
        statement: the longest statement; 0 is without end.
        age: a connection is not used again after this.
    """

    kept: int = 2
    at_most: int = 10
    statement: float = 60.0
    connect: int = 5
    age: float = 3600.0


USUAL = Limits()


def engine(url: str, limits: Limits) -> Engine:
    """This process's engine for that database; made when it is first asked for.

    Args: url: as from `with_driver`.
    """
    return _engine(os.getpid(), url, limits)


@cache
def _engine(_process: int, url: str, limits: Limits) -> Engine:
    made = sqlalchemy.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=limits.kept,
        max_overflow=limits.at_most - limits.kept,
        pool_timeout=_FREE_AGAIN,
        pool_recycle=int(limits.age),
        pool_use_lifo=True,  # what is not needed stays unused, and so grows old
        connect_args={
            "connect_timeout": limits.connect,
            "application_name": "tenant-pipelines dagster",
            "options": _options(sqlalchemy.make_url(url), limits),
            **_ALIVE,
        },
    )
    event.listen(made, "checkin", _note_use)
    event.listen(made, "checkout", partial(_try_it, made))
    return made


def _note_use(_connection: object, record: Entry, *_: object) -> None:
    record.info["used"] = time.monotonic()


def _try_it(of: Engine, connection: DBAPIConnection, record: Entry, *_: object) -> None:
    """The first statement after the database was restarted is to find a new connection.

    SQLAlchemy's own way tries it before each use: that is forty statements more for a provisioning.
    """
    used = record.info.get("used")
    if used is None or time.monotonic() - used < _FRESH:
        return
    try:
        of.dialect.do_ping(connection)
    except of.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error  # all of them: it makes a new one, and asks again


def _options(url: URL, limits: Limits) -> str:
    """What the url asks for comes last, and so wins."""
    given = url.query.get("options", "")
    asked = given if isinstance(given, str) else " ".join(given)
    return f"-c statement_timeout={int(limits.statement * 1000)} {asked}".strip()


def with_driver(url: str) -> str:
    """The url with the driver that works.

    Raises: InvalidStorage when it names another one.
    """
    parsed = sqlalchemy.make_url(url)
    if parsed.drivername not in _BARE:
        raise InvalidStorage(
            f"Dagster's storage is set to the driver {parsed.drivername!r}, under which dagster-postgres closes its "
            f"own connections. Way out: scheme: {DRIVER} in dagster.yaml"
        )
    return parsed.set(drivername=DRIVER).render_as_string(hide_password=False)


def is_away(error: BaseException) -> bool:
    """Whether the database could not be asked, or has lost the connection meanwhile: worth another try."""
    return isinstance(error, OperationalError | InterfaceError | NoneFree) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def patient(seconds: float) -> tenacity.Retrying:
    """Tries again for so long while the database is away, and then raises its last error."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_away),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )


@contextmanager
def connected(of: Engine, patience: float) -> Iterator[Connection]:
    """A connection that answers.

    Args: patience: seconds for which it is tried again while there is none to be had.
    """
    connection = patient(patience)(of.connect)
    try:
        yield connection
    finally:
        connection.close()
