"""Temporal's own development server, tuned, with worker processes and a client of its Python SDK."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.lab import Lab
from benchmarks.contenders.processes import Place, wait_for
from benchmarks.contenders.team import WORKERS, Team
from benchmarks.failures import NotDone

PROGRAMS = "benchmarks.contenders.programs"
TUNED = ("--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000")
"""Without it the server hands out tasks at a tick of 50 ms, and a workflow of 14 takes 750 ms at every load."""


@dataclass(frozen=True, slots=True)
class Temporal:
    """Args: durable: a SQLite file on the disk of PostgreSQL's data; else all is in memory."""

    durable: bool

    @property
    def name(self) -> str:
        """As it is shown."""
        return "Temporal, SQLite" if self.durable else "Temporal, in memory"

    @property
    def stored(self) -> str:
        """Where its state is."""
        return "SQLite" if self.durable else "memory"

    @contextmanager
    def at_work(self, lab: Lab) -> Iterator[Team]:
        """Server, workers, client; the server begins with nothing."""
        if lab.peers is None:
            raise NotDone("Temporal is not installed here")
        folder = lab.place / "temporal"
        folder.mkdir(exist_ok=True)
        place = Place(folder, lab.plain(), patience=0)  # its workers end after the ten seconds of a poll
        port = free_port()
        address = f"127.0.0.1:{port}"
        with ExitStack() as stack:
            server = stack.enter_context(place.process("server", self._server(lab.peers, folder, port)))
            wait_for(lambda: listens(port), "Temporal's server", server)
            parts = {"server": server.pid}
            for number in range(1, WORKERS + 1):
                worker = stack.enter_context(place.speaker(f"worker-{number}", _program(lab.peers, "worker", address)))
                _wait_until_ready(worker)
                parts[f"worker {number}"] = worker.pid
            client = stack.enter_context(place.client(self.name, _program(lab.peers, "client", address)))
            yield Team((client,), {**parts, "client": client.process.pid})

    def _server(self, python: Path, folder: Path, port: int) -> list[str | Path]:
        command: list[str | Path] = [python.with_name("temporal"), "server", "start-dev", "--headless"]
        command += ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "error", *TUNED]
        if self.durable:
            file = folder / "temporal.db"
            for end in ("", "-wal", "-shm"):
                file.with_name(f"{file.name}{end}").unlink(missing_ok=True)
            command += ["--db-filename", file]
        return command


def _program(python: Path, name: str, address: str) -> list[str | Path]:
    return [python, "-m", f"{PROGRAMS}.temporal_{name}", address]


def _wait_until_ready(worker: subprocess.Popen[bytes]) -> None:
    if worker.stdout is None or worker.stdout.readline() != b"ready\n":
        raise NotDone("a worker of Temporal ended while it was being started")


def listens(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
