"""Where the comparison takes place: one PostgreSQL with fsync, on the disk of everybody's files."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.failures import NotDone
from benchmarks.home import free_offset
from sandbox import postgres
from sandbox.postgres import Server
from sandbox.stack import credentials, database, generated
from sandbox.stack.folder import CHECKOUT, Folder
from sandbox.stack.ports import Ports

KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER")
"""What processes get of our environment."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running PostgreSQL with the product's databases, and room.

    Args: peers: Python of the environment with Temporal and DBOS, or None.
    """

    place: Path
    server: Server
    ports: Ports
    peers: Path | None

    def folder(self, name: str) -> Folder:
        """A stack's folder of that name."""
        home = self.place / name
        home.mkdir(mode=0o711, exist_ok=True)
        found = Folder(home)
        found.prepare()
        return found

    def database_url(self, name: str) -> str:
        """A database of that name for the superuser, made if it is not there."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as admin:
            if admin.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.server.dsn(name)

    def environment(self, folder: Folder) -> Mapping[str, str]:
        """Of the product's processes: as on the stack, without the stack's proxy before PostgreSQL."""
        made = credentials.ensure(self.folder("product"))
        given = generated.settings(folder, self.ports, made) | generated.dagster(folder, self.ports, made)
        proxied, direct = f":{self.ports['postgres']}/", f":{self.server.port}/"
        return self.plain() | {name: value.replace(proxied, direct) for name, value in given.items()}

    def versions(self) -> dict[str, str]:
        """Of what is compared here beside our own."""
        found = {"postgresql": self._asked("postgres", postgres.programs() / "postgres", "--version").split()[-1]}
        if self.peers is not None:
            for name in ("temporalio", "dbos"):
                code = f"from importlib.metadata import version; print(version({name!r}))"
                found[name] = self._asked(name, self.peers, "-c", code)
            found["temporal"] = self._asked("temporal", self.peers.with_name("temporal"), "--version")
        return found

    def _asked(self, name: str, *command: str | Path) -> str:
        done = subprocess.run(command, env=self.plain(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotDone(f"{name} does not say its version: {done.stderr.strip()[-300:]}")
        return done.stdout.strip().removeprefix("temporal version ")

    @staticmethod
    def plain() -> dict[str, str]:
        """Of everybody's."""
        return {name: value for name, value in os.environ.items() if name in KEPT} | {"PYTHONPATH": str(CHECKOUT)}

    @property
    def postgres(self) -> int:
        """The process of the server."""
        return int((self.place / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def opened(peers: Path | None) -> Iterator[Lab]:
    """A lab in a temporary folder; nothing of it is left."""
    place = Path(tempfile.mkdtemp(prefix="tenant-pipelines-lab-"))
    place.chmod(0o711)  # PostgreSQL runs as another user when we are root
    try:
        ports = Ports(free_offset())
        data = place / "postgres"
        data.mkdir(mode=0o755)
        with postgres.running(data, port=ports["postgres_server"], password="lab") as server:  # noqa: S106 - loopback
            lab = Lab(place, server, ports, peers)
            database.set_up(server, credentials.ensure(lab.folder("product")))
            yield lab
    finally:
        shutil.rmtree(place, ignore_errors=True)
