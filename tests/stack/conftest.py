"""The whole local stack for tests: on ports of its own, in a folder of its own."""

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.stack import processes
from sandbox.stack.folder import Folder
from sandbox.stack.ports import BASE, HOST, OFFSET

UP_WITHIN = 100.0
"""Seconds that a start may take on a machine that does other things as well."""

COMMAND = [sys.executable, "-c", "from tenant_pipelines.cli.main import run; run()"]


@dataclass(frozen=True)
class Stack:
    """A stack that a test has started, or may start, in its folder."""

    folder: Folder
    offset: int

    def environment(self) -> dict[str, str]:
        return os.environ | {OFFSET: str(self.offset)}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """`up`, in the background."""
        return subprocess.Popen(
            [*COMMAND, "up", "--json", "--home", str(self.folder.home), *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command about this stack."""
        whole = [*COMMAND, *arguments, "--home", str(self.folder.home)]
        return subprocess.run(whole, env=self.environment(), capture_output=True, text=True, timeout=100, check=False)

    def sourced(self, *arguments: str) -> str:
        """What a command about tenants or workflows says to a person who has sourced `.local/env`."""
        script = f". {shlex.quote(str(self.folder.shell_env))} && exec {shlex.join([*COMMAND, *arguments])}"
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.folder.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    @property
    def document(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.folder.stack_json.read_text())
        return found

    @property
    def left(self) -> list[processes.Process]:
        return processes.of_stack(self.folder)


def wait_until_up(process: subprocess.Popen[str]) -> None:
    """Return once the stack says where everything is."""
    assert process.stdout is not None
    assert process.stderr is not None
    ready, _, _ = select.select([process.stdout], [], [], UP_WITHIN)
    if not ready or not process.stdout.readline():
        process.terminate()
        raise AssertionError(f"the stack did not come up: {process.stderr.read()}")


def finish(process: subprocess.Popen[str], *, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    """Tell it to end; answers its exit code and what it said."""
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@contextmanager
def somewhere() -> Iterator[Stack]:
    """A stack on free ports in a folder of its own, that every process of has ended in the end."""
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-stack-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        stack = Stack(Folder(home), free_offset())
        try:
            yield stack
        finally:
            processes.end(stack.folder, patience=0)


def free_offset() -> int:
    """An offset with which all ports are free, below those that outgoing connections take."""
    for offset in range(1000 + os.getpid() % 500, 12000, 500):
        if all(_is_free(port + offset) for port in BASE.values()):
            return offset
    raise AssertionError("there are not enough free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack that the whole test session shares."""
    with somewhere() as found:
        process = found.begin()
        wait_until_up(process)
        yield found
        code, said = finish(process)
        assert (code, found.left) == (0, []), said


@pytest.fixture
def fresh_stack() -> Iterator[Stack]:
    """A stack that has not been started yet, for one test."""
    with somewhere() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A prepared folder in which nothing runs."""
    found = Folder(tmp_path)
    found.prepare()
    return found


@pytest.fixture
def sleeper(folder: Folder) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that look as if they belonged to the stack of `folder`."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(script: str = "sleep 60", *, of: Folder = folder) -> subprocess.Popen[bytes]:
        environment = os.environ | processes.marker(of)
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{script} & echo; wait"], env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        begun.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # so that traps are set and the child is there
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
