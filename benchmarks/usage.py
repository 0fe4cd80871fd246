"""CPU time and memory of the stack's processes, by part, from /proc.

A process's counters include those of the children it has waited for, so the sum over a tree of processes only grows,
and no run's share is lost when its process ends.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import TICKS
from sandbox.stack.folder import Folder, Lock
from sandbox.stack.programs import CODE
from sandbox.stack.supervision import Supervisor

PROC = Path("/proc")
RUNS = "runs"
"""The processes that the code server starts, one a Dagster run."""

CLIENT = "client"
"""This program: whoever starts the provisionings."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `own` and `reaped` (of children that have ended) are seconds of CPU."""

    pid: int
    parent: int
    own: float
    reaped: float


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the parts' trees of processes begin.

    Args: programs: with all that they start. single: without.
    """

    programs: Mapping[str, int]
    single: Mapping[str, int]


def roots(folder: Folder) -> Roots:
    """Of a running stack."""
    states = Supervisor(folder).states()
    programs = {name: state.pid for name, state in states.items() if state.pid}
    single = {CLIENT: os.getpid()}
    if up := Lock(folder).holder():
        single["up"] = up
    everybody = snapshot()
    if parents := {everybody[pid].parent for pid in programs.values() if pid in everybody}:
        single["supervisor"] = parents.pop()
    return Roots(programs, single)


def snapshot() -> dict[int, Process]:
    """Every process on the machine."""
    found: dict[int, Process] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                process = parse(int(entry.name), (entry / "stat").read_text())
                found[process.pid] = process
    return found


def parse(pid: int, stat: str) -> Process:
    """A line of /proc/PID/stat; the command in it may hold anything, so it is read from its last bracket on."""
    fields = stat.rpartition(")")[2].split()
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return Process(pid, int(fields[1]), own / TICKS, reaped / TICKS)


def members(processes: Mapping[int, Process], begin: Roots) -> dict[str, list[Process]]:
    """The processes of each part; what the code server starts is a part of its own."""
    found = {name: _tree(processes, pid) for name, pid in begin.programs.items()}
    if CODE in found:
        found[CODE], found[RUNS] = found[CODE][:1], found[CODE][1:]
    return found | {name: [processes[pid]] for name, pid in begin.single.items() if pid in processes}


def cpu(processes: Mapping[int, Process], begin: Roots) -> dict[str, float]:
    """Seconds of CPU by part since its start."""
    parts = members(processes, begin)
    used = {name: sum(p.own + p.reaped for p in parts[name]) for name in begin.programs}
    used |= {name: sum(p.own for p in parts[name]) for name in begin.single if name in parts}
    if CODE in parts:  # the code server has waited for nothing but runs
        used[RUNS] = sum(p.own + p.reaped for p in parts[RUNS]) + sum(p.reaped for p in parts[CODE])
        used[CODE] = sum(p.own for p in parts[CODE])
    return used


def memory(processes: Mapping[int, Process], begin: Roots) -> dict[str, float]:
    """Bytes by part of the stack, each shared page divided among those who share it."""
    parts = members(processes, begin)
    return {name: sum(proportional(p.pid) for p in found) for name, found in parts.items() if name != CLIENT}


def proportional(pid: int) -> float:
    """The proportional set size of a process; 0 of one that has gone."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    return 0.0


def _tree(processes: Mapping[int, Process], root: int) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found = [processes[root]] if root in processes else []
    for process in found:
        found.extend(children.get(process.pid, ()))
    return found
