"""The stack that is measured: one of our own in a temporary folder, or one that runs already."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.postgres import Server
from sandbox.stack import credentials, generated, parts, ports
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import CHECKOUT, Folder
from sandbox.stack.ports import BASE, OFFSET, Ports

START = 300.0
"""Seconds that a stack may take to start on a busy machine."""

OFFSETS = range(1000, 13500, 250)
"""Ports below those that systems give to outgoing connections (32768 on Linux)."""


@dataclass(frozen=True, slots=True)
class Home:
    """A running stack. Args: own: it was started for the measurements, and its data do not matter."""

    folder: Folder
    ports: Ports
    own: bool

    @property
    def server(self) -> Server:
        """PostgreSQL itself, behind the stack's proxy, for the superuser."""
        return Server(ports.HOST, self.ports["postgres_server"], credentials.ensure(self.folder).postgres_password)

    def switch(self, system: str) -> str:
        """Where the faults of a system are set."""
        return f"{generated.switch_url(self.ports, system)}/_sandbox/faults"


@contextmanager
def opened(
    home: Path | None, *, definitions: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Home]:
    """The stack of that folder, or one of our own.

    Args: definitions: another module for the code location of a stack of our own. environment: its programs get these.
    Raises: StackFailure when no stack runs there, or ours does not start.
    """
    if home is not None:
        yield _running(Folder(home.absolute()), own=False)
        return
    place = Path(tempfile.mkdtemp(prefix="tenant-pipelines-bench-"))
    place.chmod(0o711)  # PostgreSQL runs as another user when we are root
    process = _start(place, definitions, environment or {})
    try:
        folder = Folder(place)
        _wait_for(folder, process, place / "up.log")
        yield _running(folder, own=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def _running(folder: Folder, *, own: bool) -> Home:
    port: int = parts.document(folder)["database"]["port"]
    return Home(folder, Ports(port - BASE["postgres"]), own)


def _start(place: Path, definitions: str | None, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [Path(sys.executable).with_name("tenant-pipelines"), "up", "--home", place]
    command += ["--definitions", definitions] if definitions else []
    with (place / "up.log").open("wb") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment, OFFSET: str(free_offset())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_offset() -> int:
    """An offset with which every port of a stack is free.

    Raises: StackFailure.
    """
    for offset in OFFSETS:
        try:
            ports.refuse_taken(Ports(offset), BASE)
        except StackFailure:
            continue
        return offset
    raise StackFailure("No free row of ports was found. Way out: end what listens on this machine (ss -ltnp).")


def _wait_for(folder: Folder, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    while not folder.stack_json.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackFailure(f"The stack did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)
