"""The databases, roles and passwords of the stack.

It may be run as often as one likes, on an empty server and on one that has been in use.
"""

import time

import psycopg
from psycopg import sql

from sandbox.postgres import Server
from sandbox.stack.credentials import Credentials
from sandbox.stack.failure import StackFailure
from sandbox.stack.names import DAGSTER, PRODUCT
from tenant_pipelines.ledger import migrate

WAIT = 60.0
"""Seconds that a server may take until it answers, a recovery after a crash included."""


def set_up(server: Server, made: Credentials) -> None:
    """Bring everything to this release's state.

    Raises: StackFailure when the server does not answer, or not to our password; psycopg.Error.
    """
    wait_for(server)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        _ensure_login(admin, DAGSTER, made.dagster_password)
        _ensure_database(admin, PRODUCT, owner=None)
        _ensure_database(admin, DAGSTER, owner=DAGSTER)
        migrate.upgrade(server.dsn(PRODUCT))
        _ensure_login(admin, "control_plane", made.control_plane_password)
        _ensure_login(admin, "provisioner", made.provisioner_password)


def wait_for(server: Server, *, seconds: float = WAIT) -> None:
    """Return once the server takes connections.

    Raises: StackFailure.
    """
    deadline = time.monotonic() + seconds
    while not _accepts(server):
        if time.monotonic() > deadline:
            raise StackFailure(f"PostgreSQL did not answer within {seconds:.0f} s.")
        time.sleep(0.05)


def _accepts(server: Server) -> bool:
    try:
        psycopg.connect(server.dsn(), connect_timeout=2).close()
    except psycopg.OperationalError as error:
        # libpq gives no code for what went wrong here; a server that is up and wanted the password did not like it.
        up = psycopg.pq.PGconn.ping(server.dsn().encode()) == psycopg.pq.Ping.OK
        if up and error.pgconn is not None and error.pgconn.used_password:
            raise StackFailure(
                "PostgreSQL does not accept the password in credentials.json: its data were made with another one. "
                "Way out: bring that credentials.json back, or remove the data and start afresh (make clean)."
            ) from error
        return False
    return True


def _ensure_database(admin: psycopg.Connection, name: str, *, owner: str | None) -> None:
    if admin.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
        by = sql.SQL("") if owner is None else sql.SQL(" owner {}").format(sql.Identifier(owner))
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)) + by)
    admin.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))


def _ensure_login(admin: psycopg.Connection, name: str, password: str) -> None:
    """The password is hashed here, so that the server's log never sees it."""
    role = sql.Identifier(name)
    if admin.execute("select from pg_roles where rolname = %s", [name]).fetchone() is None:
        admin.execute(sql.SQL("create role {}").format(role))
    hashed = admin.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    admin.execute(sql.SQL("alter role {} login password {}").format(role, sql.Literal(hashed)))
