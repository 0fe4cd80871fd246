"""`python -m tests.crash.soak`: many provisionings through one pool, and what its processes hold meanwhile.

Prints a table: runs so far, runs a second, and the private memory (USS) of every process of the pool in MiB.
"""

import os
import signal
import sys
import time
from typing import Annotated, Any

import psutil
import typer

from tests.crash import machine
from tests.crash.chaos import open_executions, start_tenants, unfinished
from tests.crash.machine import Machine, until

PSUTIL: Any = psutil  # it has no types
MIB = 1024 * 1024
SETTINGS = {"app_plane_wait": "0.01", "sweep_after": "1"}
PATIENCE = 600.0
"""Seconds for one batch."""


def soak(
    runs: Annotated[int, typer.Option(min=1, help="Provisionings in all.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Provisionings between two lines of the table.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Workers of the pool.")] = 2,
) -> None:
    """Provision tenants with adapters that do next to nothing, and look at memory."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is ended
    with machine.running(seconds=0, workers=workers, settings=SETTINGS) as running:
        os.environ.update(running.environment)
        running.start_pool()
        done = 0
        while done < runs:
            now = min(batch, runs - done)
            began = time.monotonic()
            start_tenants(running, now, first=done)
            until(lambda: open_executions(running) == [], seconds=PATIENCE, what=lambda: unfinished(running))
            done += now
            typer.echo(f"{done:>7}  {now / (time.monotonic() - began):6.1f} runs/s  {_memory(running)}")


def _memory(running: Machine) -> str:
    supervisor = PSUTIL.Process(running.pool_pid)
    found = sorted([supervisor, *supervisor.children(recursive=True)], key=lambda process: process.pid)
    return "  ".join(f"{process.pid}: {process.memory_full_info().uss / MIB:.0f} MiB" for process in found)


if __name__ == "__main__":
    typer.run(soak)
