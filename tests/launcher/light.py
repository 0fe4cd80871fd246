"""Workers without Dagster: the real loop, the real channel, the real queue; what a run does is told by its job's name.

    brief     takes a few milliseconds
    short     takes as long as it takes that an interrupt arrives
    gated     waits until there is a file of the name of its run
    deaf      the same, and ignores interrupts
    mute      keeps the interpreter to itself, so that no other thread gives a sign of life
    grows     leaves 64 MiB behind
    breaks    raises, as when Dagster's storage is away

Everything that is begun and ended is a line in the file `log` of the folder LIGHT_FOLDER.
"""

import ctypes
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tenant_pipelines.launcher.channel import Assignment, Channel
from tenant_pipelines.launcher.loop import Loop
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches, Lease

_kept: list[bytes] = []


class Interrupted(BaseException):
    """As Dagster's own."""


@contextmanager
def shield() -> Iterator[None]:
    """Interrupts are noted, as Dagster does between two steps."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def open_to_interrupts() -> Iterator[None]:
    """Interrupts are raised, as Dagster does within a step."""

    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def carry_out(lease: Lease) -> str:
    """What the job's name says."""
    folder = Path(os.environ["LIGHT_FOLDER"])
    _log(folder, f"begun {lease.run_id} {lease.number} {os.getpid()}")
    try:
        with open_to_interrupts():
            _do(lease, folder)
    except Interrupted:
        _log(folder, f"interrupted {lease.run_id} {lease.number} {os.getpid()}")
        return "interrupted"
    _log(folder, f"ended {lease.run_id} {lease.number} {os.getpid()}")
    return "success"


def _do(lease: Lease, folder: Path) -> None:
    match lease.job:
        case "brief":
            time.sleep(random.uniform(0.0, 0.006))
        case "short":
            time.sleep(random.uniform(0.005, 0.03))
        case "gated":
            _await(folder / str(lease.run_id))
        case "deaf":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _await(folder / str(lease.run_id))
        case "mute":
            ctypes.PyDLL(None).sleep(60)
        case "grows":
            _kept.append(b"x" * 64 * 1024**2)
        case "breaks":
            raise OSError("the storage is away")


def _await(gate: Path) -> None:
    end = time.monotonic() + 60
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.005)


def _log(folder: Path, line: str) -> None:
    with (folder / "log").open("a") as file:
        file.write(f"{line}\n")


def main(channel: Channel, given: Assignment) -> None:
    """A worker's life."""
    if (Path(os.environ["LIGHT_FOLDER"]) / "cannot begin").exists():
        raise SystemExit(1)
    url = os.environ["LIGHT_URL"]
    with closing(Database(url, patience=20, size=1)) as database:
        Loop(channel, Launches(database), pool=given.pool, url=url, carry_out=carry_out, shield=shield).run()
