"""`python -m benchmarks`: measures, prints tables, and writes a JSON file if asked to."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import client, databases, engine_alone, failing, home, memory, provisioning, tables, usage, watch
from benchmarks.client import NotDone
from benchmarks.home import Home
from benchmarks.machine import machine
from benchmarks.results import Idle, Results
from benchmarks.usage import Roots
from sandbox.stack.failure import StackFailure

TIERS = ("pooled", "silo")
IDLE = 20.0
"""Seconds for which the idle stack is looked at."""

WIDTH = 120
"""Columns, where nobody says how wide the terminal is."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True, highlight=False)


def measure(
    *,
    at: Annotated[
        Path | None, typer.Option("--home", help="A running stack's folder; left out: a stack of our own is started.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Tenants of each kind, one after the other.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there as well.")] = None,
) -> None:
    """Measure provisioning on the local stack. On a running stack, the tenants that are provisioned stay there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a stack of our own is ended
    load = os.getloadavg()[0]
    try:
        _tell("starting a stack" if at is None else "looking for the stack")
        with home.opened(at) as opened:
            results = _measure_all(opened, rounds, load)
    except (StackFailure, NotDone) as failure:
        err.print(str(failure), style="red", markup=False)
        raise typer.Exit(1) from failure
    for table in tables.shown(results):
        out.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(results), indent=2) + "\n")


def _measure_all(opened: Home, rounds: int, load: float) -> Results:
    begin = usage.roots(opened.folder)
    with client.connected(opened) as connected:
        _tell("one tenant of each tier first, not counted")
        for tier in TIERS:
            provisioning.provision(opened, connected, tier)
        watch.settle(begin)
        _tell("the idle stack")
        idle = _idle(opened, begin)
        at_rest = memory.at_rest(begin)
        tiers = []
        for tier in TIERS:
            _tell(f"{tier} tenants")
            tiers.append(provisioning.measure(opened, connected, begin, idle, tier=tier, rounds=rounds))
        _tell("a failing step")
        failed = failing.measure(opened, connected, rounds=rounds)
        watch.settle(begin)
        _tell(f"{memory.AT_ONCE} tenants at once")
        peak = memory.measure(connected, begin, idle=at_rest, tier=TIERS[-1])
        _tell("the engine alone")
        alone = engine_alone.measure(opened, rounds=4 * rounds)
    where = machine(databases.server_version(opened), load)
    return Results(where, rounds, opened.own, idle, tiers, failed, peak, alone)


def _idle(opened: Home, begin: Roots) -> Idle:
    before = watch.look(opened, begin)
    time.sleep(IDLE)
    return watch.idle_between(before, watch.look(opened, begin))


def _tell(what: str) -> None:
    err.print(f"… {what}", style="dim")


if __name__ == "__main__":
    typer.run(measure)
