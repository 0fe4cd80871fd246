"""What every test may ask for. The environment's own settings never reach a test."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sandbox.postgres import Server, running
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.ledger import migrate


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TENANT_PIPELINES_") and not name.startswith("TENANT_PIPELINES_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def mark() -> Mark:
    """The tenant that most tests are about."""
    return Mark("6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "acme")


@pytest.fixture
def neighbour() -> Mark:
    """Another tenant, whose things nobody may touch."""
    return Mark("0d9c8b7a-6e5f-4a3b-8c2d-1e0f9a8b7c6d", "neighbour")


class Fence:
    """Counts the writes that asked; raises once it has been lowered."""

    def __init__(self) -> None:
        self.asked = 0
        self.lowered = False

    def __call__(self) -> None:
        self.asked += 1
        if self.lowered:
            raise FenceLowered


class FenceLowered(Exception):
    """This run may not act any longer."""


@pytest.fixture
def fence() -> Fence:
    """The fence of the calls made with `call`."""
    return Fence()


@pytest.fixture
def call(fence: Fence) -> Callable[..., Call]:
    """Makes calls: `call()`, `call(seconds=1)`, `call(key="another")`."""

    def make(*, seconds: float = 20.0, key: str = "6f2b7c3e:1:step") -> Call:
        return Call(key=key, deadline=time.monotonic() + seconds, fence=fence)

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL of this test process's own, without fsync; or that of TENANT_PIPELINES_TEST_POSTGRES_URL."""
    if url := os.environ.get("TENANT_PIPELINES_TEST_POSTGRES_URL"):
        info = conninfo_to_dict(url)
        yield Server(str(info["host"]), int(info.get("port", 5432) or 5432), str(info["password"]))
        return
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-postgres-") as directory:
        Path(directory).chmod(0o755)  # the server runs as another user when we are root
        with running(Path(directory), fsync=False) as server:
            yield server


@pytest.fixture(scope="session")
def template(postgres: Server) -> Iterator[str]:
    """The one place where the database is made that every test's own database is a copy of."""
    name = f"template_{os.getpid()}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrate.upgrade(postgres.dsn(name))
        yield name
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _give_access(dsn: str) -> None:
    """A copy of a database lacks what its template was granted and set as a database: do that part once more."""
    with psycopg.connect(dsn) as connection:
        connection.execute((migrate.SCRIPTS / "0004_access.sql").read_bytes())


_numbers = itertools.count(1)


@contextmanager
def _fresh(postgres: Server, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        _give_access(postgres.dsn(name))
        yield postgres.dsn(name)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres: Server, template: str) -> Iterator[str]:
    """The DSN of a fresh database with all migrations applied, as superuser. Roles outlive it."""
    with _fresh(postgres, template) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def shared_database(postgres: Server, template: str) -> Iterator[str]:
    """As `database`, but one for all tests of a file, for those who put things back: making one takes 0.2 s."""
    with _fresh(postgres, template) as dsn:
        yield dsn
