"""Starts the processes of a contender and ends them, with all that they have started."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.client import Client
from benchmarks.failures import NotDone

START = 120.0
"""Seconds that a process may take until it can be used."""
END = 30.0
"""Seconds that it may take to end when it is told to."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of one contender live.

    Args: folder: gets a log of each. environment: all of it. patience: seconds that each may take to end.
    """

    folder: Path
    environment: Mapping[str, str]
    patience: float = END

    @contextmanager
    def process(self, name: str, command: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
        """A process with everything it starts; its output goes to its log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            started = self._popen(command, log.fileno(), stdin=subprocess.DEVNULL, stdout=log.fileno())
        with _ended(started, self.patience):
            yield started

    @contextmanager
    def speaker(self, name: str, command: Sequence[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
        """A process that is spoken to over its standard input and output; what it complains of goes to its log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            started = self._popen(command, log.fileno(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with _ended(started, self.patience):
            yield started

    @contextmanager
    def client(self, name: str, command: Sequence[str | Path]) -> Iterator[Client]:
        """A client that is ready."""
        with self.speaker("client", command) as process:
            client = Client(name, process)
            client.wait_until_ready()
            yield client

    def _popen(self, command: Sequence[str | Path], log: int, *, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=stdin,
            stdout=stdout,
            stderr=log,
            start_new_session=True,
        )


def wait_for(there: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    """Return when it is there.

    Raises: NotDone when the process ends or takes too long.
    """
    deadline = time.monotonic() + START
    while not there():
        if process.poll() is not None:
            raise NotDone(f"{what}: its process ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise NotDone(f"{what} was not there after {START:.0f} s")
        time.sleep(0.02)


@contextmanager
def _ended(process: subprocess.Popen[bytes], patience: float) -> Iterator[None]:
    try:
        yield
    finally:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # a client ends with its questions
            _wait(process, patience)
        process.terminate()
        _wait(process, patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
