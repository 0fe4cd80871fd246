"""`python -m benchmarks`: measures, prints tables, and writes a JSON file if asked to."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import (
    client,
    databases,
    engine_alone,
    failing,
    home,
    killed,
    memory,
    outside,
    provisioning,
    rounds,
    tables,
    usage,
    waiting,
    watch,
)
from benchmarks.client import Client
from benchmarks.contenders import lab as labs
from benchmarks.contenders.dbos import Dbos
from benchmarks.contenders.lab import Lab
from benchmarks.contenders.ours import A_RUN_EACH, A_STEP_EACH, WARM
from benchmarks.contenders.team import Contender
from benchmarks.contenders.temporal import Temporal
from benchmarks.failures import Attempts
from benchmarks.home import Home
from benchmarks.machine import machine
from benchmarks.plan import FULL, QUICK, Plan, Section
from benchmarks.results import Idle, Results
from benchmarks.timed_adapter import CALLS
from benchmarks.usage import Roots

TIERS = ("pooled", "silo")
WIDTH = 120
"""Columns, where nobody says how wide the terminal is."""
PEERS = Path(".venv-bench/bin/python")

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True, highlight=False)


def measure(
    *,
    section: Annotated[list[Section] | None, typer.Option(help="Again for each; everything if left out.")] = None,
    times: Annotated[int | None, typer.Option("--rounds", min=1, help="Of whatever is done in rounds.")] = None,
    quick: Annotated[bool, typer.Option(help="Little of each: to see that it works.")] = False,
    at: Annotated[
        Path | None, typer.Option("--home", help="A running stack's folder; left out: a stack of our own is started.")
    ] = None,
    peers: Annotated[Path, typer.Option(help="Python of the environment with Temporal and DBOS.")] = PEERS,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there as well.")] = None,
) -> None:
    """Measure the product, alone and beside others. On a running stack, the tenants that are provisioned stay there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is ours is ended
    load = os.getloadavg()[0]
    wanted = frozenset(section or Section)
    plan = (QUICK if quick else FULL).with_rounds(times)
    results = Results(machine(load, {}), plan.rounds, own_stack=at is None)
    attempts = Attempts(_complain)
    if wanted & LAB:
        with attempts.one("the comparison"):
            _in_the_lab(results, wanted, plan, _installed(peers), attempts)
    if wanted & STACK:
        with attempts.one("the stack"):
            _on_the_stack(results, wanted, plan, at, attempts)
    results.machine = machine(load, results.machine.versions)
    for table in tables.shown(results):
        out.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(results), indent=2) + "\n")
    if attempts.failed:
        raise typer.Exit(1)


LAB = frozenset({Section.SINGLE, Section.DEFAULTS, Section.WAITING, Section.KILLED})
STACK = frozenset(Section) - LAB


def _installed(peers: Path) -> Path | None:
    if peers.exists():
        return peers.absolute()
    err.print(f"… Temporal and DBOS are left out: {peers} is not there (make bench installs it)", style="yellow")
    return None


def _in_the_lab(
    results: Results, wanted: frozenset[Section], plan: Plan, peers: Path | None, attempts: Attempts
) -> None:
    with labs.opened(peers) as lab:
        results.machine.versions.update(lab.versions())
        if Section.SINGLE in wanted:
            with attempts.one(Section.SINGLE):
                results.sides = rounds.measure(lab, _contenders(lab), plan.contest, _tell)
        if Section.DEFAULTS in wanted:
            with attempts.one(Section.DEFAULTS):
                results.defaults = rounds.measure(lab, (A_RUN_EACH, A_STEP_EACH), plan.defaults, _tell)
        if Section.WAITING in wanted:
            with attempts.one(Section.WAITING):
                results.waiting = waiting.measure(lab, tenants=plan.waiting, singles=plan.contest.singles, tell=_tell)
        if Section.KILLED in wanted:
            with attempts.one(Section.KILLED):
                results.killed = killed.measure(lab, rounds=plan.rounds, tell=_tell)


def _contenders(lab: Lab) -> Sequence[Contender]:
    others = (Temporal(durable=False), Temporal(durable=True), Dbos()) if lab.peers else ()
    return (WARM, *others)


def _on_the_stack(
    results: Results, wanted: frozenset[Section], plan: Plan, at: Path | None, attempts: Attempts
) -> None:
    with ExitStack() as stack:
        _tell("starting a stack" if at is None else "looking for the stack")
        calls = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "calls"
        calls.touch()
        opened = stack.enter_context(_stack(at, calls))
        results.machine.versions["postgresql"] = databases.server_version(opened)
        begin = usage.roots(opened.folder)
        connected = stack.enter_context(client.connected(opened))
        _tell("one tenant of each tier first, not counted")
        for tier in TIERS:
            provisioning.provision(opened, connected, tier)
        watch.settle(begin)
        _tell("the idle stack")
        results.idle = idle = _idle(opened, begin, plan.idle)
        if Section.PROVISIONING in wanted:
            with attempts.one(Section.PROVISIONING):
                _provisioning(results, opened, connected, begin, idle, plan.rounds)
        if Section.OVERHEAD in wanted and opened.own:
            with attempts.one(Section.OVERHEAD):
                for tier in TIERS:
                    _tell(f"{tier} tenants, outside and inside")
                    results.overhead.append(outside.measure(opened, connected, calls, tier=tier, rounds=plan.rounds))
        if Section.FAILING in wanted:
            with attempts.one(Section.FAILING):
                _tell("a failing step")
                results.failing = failing.measure(opened, connected, rounds=plan.rounds)
        if Section.MEMORY in wanted:
            with attempts.one(Section.MEMORY):
                _tell(f"{memory.AT_ONCE} tenants at once")
                watch.settle(begin)
                results.memory = memory.measure(connected, begin, idle=idle.memory, tier=TIERS[-1])


def _provisioning(results: Results, opened: Home, connected: Client, begin: Roots, idle: Idle, count: int) -> None:
    for tier in TIERS:
        _tell(f"{tier} tenants, the parts of it")
        found = provisioning.measure(opened, connected, begin, idle, tier=tier, rounds=count)
        results.provisioning.append(found)
    _tell("the engine alone")
    results.alone = engine_alone.measure(opened, rounds=4 * count)


def _stack(at: Path | None, calls: Path) -> AbstractContextManager[Home]:
    environment = {CALLS: str(calls)}
    return home.opened(at, definitions="benchmarks.timed_definitions", environment=environment)


def _idle(opened: Home, begin: Roots, seconds: float) -> Idle:
    before = watch.look(opened, begin)
    time.sleep(seconds)
    after = watch.look(opened, begin)
    statements = databases.statements_a_second(opened, seconds) if opened.own else None
    return watch.idle_between(before, after, memory=memory.at_rest(begin), statements=statements)


def _tell(what: str) -> None:
    err.print(f"… {what}", style="dim")


def _complain(what: str) -> None:
    err.print(what, style="red", markup=False)


if __name__ == "__main__":
    typer.run(measure)
