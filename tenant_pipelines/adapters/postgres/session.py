"""One connection for the length of one adapter call, and the one place where PostgreSQL's errors become failures."""

import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from tenant_pipelines.adapters import network
from tenant_pipelines.adapters.postgres import refusal, statements
from tenant_pipelines.adapters.postgres.refusal import Target
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
)

SYSTEM = "PostgreSQL"
LONGEST_LOCK_WAIT = 5.0
"""Seconds a statement waits for somebody else's lock before the attempt counts as LockHeld."""


class Session:
    """A connection whose every use is bounded by the call's time, on the server's side and on ours.

    The server ends a statement a little before our own time-out, so that it normally has not been carried out when we
    stop waiting. A server that says nothing at all is left by closing the socket.
    """

    def __init__(self, connection: psycopg.Connection, target: Target, call: Call) -> None:
        self._connection = connection
        self._target = target
        self._call = call

    def read(self, query: sql.SQL, values: Mapping[str, str] | tuple[str, ...]) -> list[tuple[Any, ...]]:
        """All rows of a query that changes nothing."""
        with self._bounded(self._call.seconds_left(), writing=False):
            return self._connection.execute(query, values).fetchall()

    def write(self, *changes: sql.Composed, known: Mapping[str, Failure] | None = None) -> None:
        """All the changes in one transaction: the fence is asked before it begins and before it is committed.

        Args: known: what certain SQLSTATEs mean here, beside what they mean everywhere.
        """
        seconds = self._call.before_write()
        with self._bounded(seconds, writing=True, known=known), self._connection.transaction():
            longest = (f"{seconds * 900:.0f}", f"{min(seconds / 2, LONGEST_LOCK_WAIT) * 1000:.0f}")
            self._connection.execute(statements.LIMITS, longest)
            for change in changes:
                self._connection.execute(change)
            self._call.fence()

    def scrambled(self, password: str, user: str) -> str:
        """The SCRAM verifier of a password: the server never sees the password itself, nor does its log."""
        return self._connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()

    @property
    def database(self) -> str:
        """The database the session is in."""
        return self._connection.info.dbname

    @contextmanager
    def _bounded(self, seconds: float, *, writing: bool, known: Mapping[str, Failure] | None = None) -> Iterator[None]:
        cut = _Cut(self._connection, seconds)
        try:
            with cut:
                yield
        except psycopg.Error as error:
            if cut.made:
                raise Outage.timed_out(SYSTEM, self._target.host, self._target.port, sent=writing) from error
            state = error.diag.sqlstate or error.sqlstate
            if state is not None:
                raise (known or {}).get(state) or by_sqlstate(state, self._target) from error
            if self._connection.broken:
                raise _dropped(self._target, lost=writing) from error
            raise Answered(SYSTEM, f"refused a statement ({type(error).__name__})") from error


class _Cut:
    """Shuts the connection's socket down when the time is over: what waits on it fails at once."""

    def __init__(self, connection: psycopg.Connection, seconds: float) -> None:
        self.made = False
        self._connection = connection
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def _cut(self) -> None:
        self.made = True
        with socket.socket(fileno=os.dup(self._connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()


@contextmanager
def session(conninfo: str, target: Target, call: Call) -> Iterator[Session]:
    """Connect for one call; closed at its end."""
    seconds = call.seconds_left()
    try:
        connection = psycopg.connect(
            conninfo,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=math.ceil(seconds),
            application_name="tenant-pipelines",
        )
    except psycopg.errors.ConnectionTimeout as error:
        raise Outage.timed_out(SYSTEM, target.host, target.port, sent=False) from error
    except psycopg.OperationalError as error:
        raise _refused(target, call.seconds_left()) from error
    try:
        yield Session(connection, target, call)
    finally:
        connection.close()


def by_sqlstate(state: str, target: Target) -> Failure:  # noqa: PLR0911 - one answer to each case
    """What an error code of the server means for a step (PostgreSQL manual, appendix A: Error Codes)."""
    match state:
        case "28P01" | "28000":
            what = f"does not accept the credentials of role {target.user} at {target.host}:{target.port}"
            return InvalidCredentials(SYSTEM, f"{what} (SQLSTATE {state})")
        case "3D000":
            return InvalidConfiguration(SYSTEM, f"has no database {target.database} at {target.host}:{target.port}")
        case "42501":
            way_out = "restore the grants: psql -U postgres -d arc_saas -f docker/init-db/01-init-schemas.sql"
            return PermissionDenied(SYSTEM, f"does not allow role {target.user} to do this", way_out=way_out)
        case "57014":
            return Outage.timed_out(SYSTEM, target.host, target.port, sent=False)
        case "25006":
            return Outage(SYSTEM, f"is read-only at {target.host}:{target.port}, as a standby is (SQLSTATE 25006)")
        case "55P03" | "55006" | "40001" | "40P01":
            return LockHeld(SYSTEM, f"has the object locked by another session (SQLSTATE {state})")
        case _ if state.startswith(("08", "53", "57P")):
            where = f"Connection refused (ECONNREFUSED) {target.host}:{target.port}"
            return Outage(SYSTEM, f"is not able to serve us (SQLSTATE {state}): {where}")
        case _:
            return Answered(SYSTEM, f"answered with an error (SQLSTATE {state})")


def _refused(target: Target, seconds: float) -> Failure:
    """Why a connection could not be made; libpq does not tell, so the server is asked once more."""
    try:
        state = refusal.sqlstate(target, seconds)
    except refusal.Unclear as error:
        return Answered(SYSTEM, f"refused the session at {target.host}:{target.port} {error}")
    except OSError as error:
        url = f"postgresql://{target.host}:{target.port}"
        found = network.outage(SYSTEM, url, error)
        return Outage(SYSTEM, found.what if found else f"cannot be reached at {target.host}:{target.port}")
    return _dropped(target, lost=False) if state is None else by_sqlstate(state, target)


def _dropped(target: Target, *, lost: bool) -> Outage:
    return Outage(SYSTEM, Outage.dropped(SYSTEM, target.host, target.port).what, lost=lost)
