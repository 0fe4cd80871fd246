"""Pools in processes of their own, as a test sees them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

from tenant_pipelines.launcher.processes import Process
from tenant_pipelines.ledger.launches import Launches, LaunchState, Row

ROOT = Path(__file__).parents[2]
Answer = TypeVar("Answer")


def until(look: Callable[[], Answer], *, within: float = 15.0, what: Callable[[], str] = str) -> Answer:
    """What `look` answers as soon as that is something. Args: what: says for what one waits, when it does not come."""
    end = time.monotonic() + within
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"not within {within} s: {what()}"
        time.sleep(0.01)


class PoolProcess:
    """A pool, its lines, and its processes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))

    def said(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def await_line(self, text: str, *, within: float = 20.0, times: int = 1) -> str:
        def look() -> str | None:
            assert self._process.poll() is None or len(self.said(text)) >= times, self.lines
            return self.said(text)[times - 1] if len(self.said(text)) >= times else None

        return until(look, within=within, what=lambda: f"{text!r} in {self.lines}") or ""

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, within: float = 20.0) -> int:
        """Its exit code; the lines are complete then."""
        code = self._process.wait(within)
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """SIGKILL; its workers have its stderr still."""
        self._process.kill()
        self._process.wait(10)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def warm(self) -> set[int]:
        """The pids of workers and waker: each leads a process group of its own, as nothing else below the pool does."""
        return {pid for pid, group in below(self.pid).items() if pid == group}

    def handles(self) -> list[Process]:
        """The same, so that they are known whoever their parent is by then."""
        return [Process(pid) for pid in self.warm()]

    def close(self) -> None:
        """End it and all that it has started, whatever a test has left."""
        processes = below(self.pid)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(10)
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(10)
        assert self._process.stderr is not None
        self._process.stderr.close()


def below(pid: int) -> dict[int, int]:
    """The processes below this one that live, with their process groups."""
    found: dict[int, int] = {}
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    for child in map(int, children):
        found |= below(child)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, group = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                found[child] = int(group)
    return found


class LightStage:
    """A queue, and pools of light workers for it."""

    def __init__(self, url: str, folder: Path, launches: Launches) -> None:
        self.url = url
        self.folder = folder
        self.launches = launches
        self._pools: list[PoolProcess] = []

    @property
    def environment(self) -> dict[str, str]:
        """Of a pool of light workers."""
        return os.environ | {"LIGHT_URL": self.url, "LIGHT_FOLDER": str(self.folder)}

    def command(self, **options: float) -> Sequence[str]:
        """What starts such a pool."""
        return [sys.executable, "-m", "tests.launcher.light_pool", json.dumps({"size": 1, "begin": 10.0, **options})]

    def pool(self, *, begins: bool = True, **options: float) -> PoolProcess:
        """One of the test's own, by default one worker, and ready."""
        made = PoolProcess(self.command(**options), self.environment)
        self._pools.append(made)
        if begins:
            made.await_line("ready: ")
        return made

    def add(self, job: str) -> UUID:
        run = uuid4()
        self.launches.add(run, job)
        return run

    def open(self, run: UUID) -> None:
        """Let a gated run end."""
        (self.folder / str(run)).touch()

    def row(self, run: UUID) -> Row:
        found = self.launches.of(run)
        assert found is not None
        return found

    def begun(self, run: UUID) -> int:
        """Wait until it is carried out; answers the pid of who does."""
        line = until(lambda: next(iter(self.log("begun", run)), None), what=lambda: f"{run} is begun")
        return int(line.split()[3]) if line else 0

    def log(self, what: str, run: UUID | None = None) -> list[str]:
        file = self.folder / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(what) and (run is None or str(run) in line)]

    def await_state(self, run: UUID, state: LaunchState, *, within: float = 15.0) -> Row:
        until(lambda: self.row(run).state is state, within=within, what=lambda: f"{self.row(run)} is {state}")
        return self.row(run)

    def close(self) -> None:
        while self._pools:
            self._pools.pop().close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process is stopped meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
