"""One machine with a database and a pool of warm workers, each of which can be killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from sandbox import postgres
from sandbox.postgres import Server
from tenant_pipelines.ledger import migrate
from tests.crash.location import RECORDS, SECONDS
from tests.crash.recording import TABLES
from tests.settings_values import environment

LEDGER, DAGSTER, OUTSIDE = "arc_saas", "dagster", "outside"

DAGSTER_YAML = """
storage:
  custom:
    module: tenant_pipelines.runs.storage
    class: PooledPostgresStorage
    config:
      postgres_db:
        hostname: 127.0.0.1
        port: {port}
        db_name: dagster
        username: postgres
        password: {{env: CRASH_PASSWORD}}
run_launcher:
  module: tenant_pipelines.launcher.run_launcher
  class: WarmRunLauncher
  config:
    database_url: {{env: TENANT_PIPELINES_DATABASE_URL}}
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
telemetry:
  enabled: false
"""


class Machine:
    """Starts and kills what runs on it.

    Args:
        folder: its disk. seconds: that every call outside takes. workers: in the pool.
        settings: beside those of every test.
    """

    def __init__(
        self, folder: Path, *, seconds: float, workers: int = 2, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.workers = workers
        postgres.initialise(folder / "data", "postgres")
        self.server = Server("127.0.0.1", _free_port(), "postgres")
        self._database: subprocess.Popen[bytes] | None = None
        self._pool: subprocess.Popen[bytes] | None = None
        url = self.server.dsn(LEDGER)
        self.environment = {
            **os.environ,
            **environment(database_url=url, provisioner_database_url=url, workers=str(workers), **(settings or {})),
            RECORDS: self.server.dsn(OUTSIDE),
            SECONDS: str(seconds),
            "CRASH_PASSWORD": self.server.password,
            "DAGSTER_HOME": str(folder / "dagster_home"),
        }

    def prepare(self) -> None:
        """The databases, and Dagster's home."""
        self.start_database()
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            for name in (LEDGER, DAGSTER, OUTSIDE):
                admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        migrate.upgrade(self.server.dsn(LEDGER))
        with psycopg.connect(self.server.dsn(OUTSIDE)) as outside:
            outside.execute(TABLES.encode())
        home = self.folder / "dagster_home"
        home.mkdir()
        (home / "dagster.yaml").write_text(DAGSTER_YAML.format(port=self.server.port))

    def start_database(self) -> None:
        """Start PostgreSQL, and wait until it answers; what crashed is recovered by then."""
        user = postgres.account()
        with (self.folder / "postgres.log").open("ab") as output:
            self._database = subprocess.Popen(
                postgres.postgres_command(self.folder / "data", self.server.port),
                cwd=self.folder / "data",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user.pw_name if user else None,
            )
        postgres.wait_until_ready(self.server, self._database)

    def kill_database(self) -> None:
        """With all its processes, at once."""
        assert self._database is not None
        os.killpg(self._database.pid, signal.SIGKILL)
        self._database.wait()

    def start_pool(self) -> None:
        """Start it; that it is ready shows in that it takes runs."""
        with (self.folder / "pool.log").open("ab") as output:
            self._pool = subprocess.Popen(
                [sys.executable, "-m", "tenant_pipelines.launcher", "--definitions", "tests.crash.location"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill_pool(self) -> None:
        """The supervisor alone; what it had started has to end by itself."""
        assert self._pool is not None
        self._pool.kill()
        self._pool.wait()

    @property
    def pool_pid(self) -> int:
        """The supervisor's."""
        assert self._pool is not None
        return self._pool.pid

    def working(self) -> list[int]:
        """The processes that carry out a run at the moment."""
        found = self.ledger("select worker_pid from engine.launches where state = 'taken' order by worker_pid")
        return [row["worker_pid"] for row in found]

    def ledger(self, query: str, *values: object) -> list[DictRow]:
        """What the ledger answers."""
        return self._ask(LEDGER, query, values)

    def outside(self, query: str, *values: object) -> list[DictRow]:
        """What the outside systems remember."""
        return self._ask(OUTSIDE, query, values)

    def _ask(self, database: str, query: str, values: Sequence[object]) -> list[DictRow]:
        with psycopg.connect(self.server.dsn(database), autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def said(self) -> str:
        """The end of what the pool has said."""
        return (self.folder / "pool.log").read_text(errors="replace")[-4000:]

    def end(self) -> None:
        """Stop everything."""
        if self._pool is not None and self._pool.poll() is None:
            self._pool.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._pool.wait(timeout=20)
            if self._pool.poll() is None:
                os.killpg(self._pool.pid, signal.SIGKILL)
                self._pool.wait()
        if self._database is not None and self._database.poll() is None:
            self._database.send_signal(signal.SIGINT)
            self._database.wait(timeout=30)


@contextlib.contextmanager
def running(*, seconds: float, workers: int = 2, settings: Mapping[str, str] | None = None) -> Iterator[Machine]:
    """A machine with its database up and no pool yet, on a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-machine-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server runs as another user when we are root
        machine = Machine(folder, seconds=seconds, workers=workers, settings=settings)
        try:
            machine.prepare()
            yield machine
        finally:
            machine.end()


def until(condition: Callable[[], bool], *, seconds: float, what: Callable[[], str]) -> None:
    """Look again and again. Raises: AssertionError with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
