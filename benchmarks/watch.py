"""One look at everything that counts: CPU, databases, the clock; and what two looks say together."""

import time
from dataclasses import dataclass

from benchmarks import databases, machine, usage
from benchmarks.databases import Counters
from benchmarks.figures import grown, per_run
from benchmarks.home import Home
from benchmarks.machine import Busy
from benchmarks.results import Idle, Usage
from benchmarks.usage import RUNS, Roots

SETTLED = 60.0
"""Seconds that the processes of runs may take to end after their executions have."""

RESTING = 1
"""Processes below a code server without runs: multiprocessing's resource tracker, which comes with the first run."""


@dataclass(frozen=True, slots=True)
class Look:
    """Counters that only grow."""

    cpu: dict[str, float]
    databases: Counters
    busy: Busy


def look(home: Home, begin: Roots) -> Look:
    """As of now."""
    counters = databases.counters(home)
    return Look(usage.cpu(usage.snapshot(), begin), counters, machine.busy())


def idle_between(before: Look, after: Look, *, memory: dict[str, float], statements: dict[str, float] | None) -> Idle:
    """Rates of a stack that nobody used between the two looks.

    Args: memory: as it was then. statements: a second, where they could be counted.
    """
    seconds = after.busy.at - before.busy.at
    cpu = {name: value / seconds for name, value in grown(before.cpu, after.cpu).items()}
    commits = grown(before.databases.commits, after.databases.commits)
    connections = grown(before.databases.connections, after.databases.connections)
    return Idle(
        seconds=seconds,
        cpu=cpu,
        commits={name: value / seconds for name, value in commits.items()},
        connections={name: value / seconds for name, value in connections.items()},
        others=(after.busy.cpu - before.busy.cpu) / seconds - sum(cpu.values()),
        memory=memory,
        statements=statements,
    )


def usage_between(before: Look, after: Look, *, runs: int, idle: Idle) -> Usage:
    """What one of the runs between the two looks has cost."""
    seconds = after.busy.at - before.busy.at
    cpu = grown(before.cpu, after.cpu)
    was, now = before.databases, after.databases
    return Usage(
        cpu=per_run(cpu, runs=runs, seconds=seconds, idle_rate=idle.cpu),
        commits=per_run(grown(was.commits, now.commits), runs=runs, seconds=seconds, idle_rate=idle.commits),
        rollbacks=per_run(grown(was.rollbacks, now.rollbacks), runs=runs, seconds=seconds, idle_rate={}),
        connections=per_run(
            grown(was.connections, now.connections), runs=runs, seconds=seconds, idle_rate=idle.connections
        ),
        others=(after.busy.cpu - before.busy.cpu - sum(cpu.values())) / seconds,
    )


def settle(begin: Roots) -> None:
    """Wait until the processes of runs have ended."""
    deadline = time.monotonic() + SETTLED
    while _children_of_code(begin) > RESTING and time.monotonic() < deadline:
        time.sleep(0.1)


def _children_of_code(begin: Roots) -> int:
    return len(usage.members(usage.snapshot(), begin).get(RUNS, ()))
