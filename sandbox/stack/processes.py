"""Finds the processes of a stack by the marker in their environment, and ends those that were left behind.

Every process of a stack inherits the marker with the folder's own path in it, so that another stack's processes, and
a process that got the id of a dead one, are never taken for ours. Needs Linux' /proc; where there is none, only the
supervisor knows its children.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sandbox.stack.folder import Folder

MARKER = "TENANT_PIPELINES_STACK"
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One of ours; `started` (clock ticks since boot) tells it from a later process with the same id."""

    pid: int
    started: int
    command: str


def marker(folder: Folder) -> dict[str, str]:
    """What is put into the environment of every process of the stack."""
    return {MARKER: str(folder.local.resolve())}


def of_stack(folder: Folder) -> list[Process]:
    """Every living process of the stack except this one."""
    wanted = f"{MARKER}={folder.local.resolve()}".encode()
    found: list[Process] = []
    for entry in PROC.iterdir() if PROC.exists() else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0") and (one := _living(entry)):
                    found.append(one)
    return found


def end(folder: Folder, *, patience: float = 5.0) -> list[Process]:
    """End every process of the stack, first gently; answers which ones there were.

    Args: patience: seconds until those that have not gone are killed.
    """
    ended: dict[Process, None] = {}
    deadline = time.monotonic() + patience
    while left := of_stack(folder):
        new = [process for process in left if process not in ended]
        ended |= dict.fromkeys(new)
        if time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
        else:
            _signal(new, signal.SIGINT)  # which stops a PostgreSQL at once and cleanly, unlike SIGTERM
            _signal(new, signal.SIGTERM)
        time.sleep(0.05)
    return list(ended)


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _living(entry: Path) -> Process | None:
    """The process behind a folder of /proc; None for one that has ended and waits for its parent to notice."""
    state, *rest = (entry / "stat").read_text().rpartition(")")[2].split()
    if state in "ZX":
        return None
    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return Process(pid=int(entry.name), started=int(rest[18]), command=command)
