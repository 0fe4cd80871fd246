"""A thousand tenants that wait for outside systems, and one more customer meanwhile.

Half of them have a Terraform run that goes on and on and is looked at; half have been told to come back much later.
"""

import time
from collections.abc import Callable

import psycopg

from benchmarks import machine, usage
from benchmarks.contenders.lab import Lab
from benchmarks.contenders.ours import WARM
from benchmarks.contenders.team import Team
from benchmarks.failures import NotDone
from benchmarks.figures import Summary, grown, summary
from benchmarks.idle_tenants import REFUSED, SLOW
from benchmarks.results import Waiting
from sandbox.stack.names import PRODUCT

AT_A_TIME = 50
"""Started by one call of the client."""
RESTING = 20.0
"""Seconds for which the pool is looked at while everybody waits."""
STUCK = 120.0
"""Seconds without another one that has parked."""

POSTGRES = "postgres"
"""The part whose processes are connections, which come and go."""

PARKED = "select count(*) from engine.executions where wake_at is not null"


def measure(lab: Lab, *, tenants: int, singles: int, tell: Callable[[str], None]) -> Waiting:
    """The latency of a new tenant before and then, and what the waiting ones cost.

    Raises: NotDone.
    """
    with WARM.at_work(lab) as team:
        tell("nobody waits")
        before = _singles(team, singles)
        memory, processes = _size(team)
        tell(f"{tenants} tenants come to wait")
        began = time.monotonic()
        _fill(lab, team, tenants)
        parked = time.monotonic() - began
        tell("everybody waits")
        cpu = _cpu(team, RESTING if tenants >= AT_A_TIME else 1.0)
        memory_then, processes_then = _size(team)
        meanwhile = _singles(team, singles)
    return Waiting(tenants, parked, before, meanwhile, memory, memory_then, processes, processes_then, cpu)


def _singles(team: Team, count: int) -> Summary:
    for _ in range(3):
        team.client.one()
    return summary(team.client.one() for _ in range(count))


def _fill(lab: Lab, team: Team, tenants: int) -> None:
    """Start them, no faster than they come to wait: the launch queue is bounded."""
    with psycopg.connect(lab.server.dsn(PRODUCT), autocommit=True) as connection:
        begun = 0
        while begun < tenants:
            count = min(AT_A_TIME, tenants - begun)
            team.client.ask("begin", prefix=SLOW, count=count - count // 2)
            team.client.ask("begin", prefix=REFUSED, count=count // 2)
            begun += count
            _wait_for(connection, begun - AT_A_TIME // 2 if begun < tenants else tenants)


def _wait_for(connection: psycopg.Connection, wanted: int) -> None:
    last, changed = -1, time.monotonic()
    while (parked := _parked(connection)) < wanted:
        if parked != last:
            last, changed = parked, time.monotonic()
        if time.monotonic() - changed > STUCK:
            raise NotDone(f"only {parked} of {wanted} tenants wait without a worker")
        time.sleep(0.05)


def _parked(connection: psycopg.Connection) -> int:
    row = connection.execute(PARKED).fetchone()
    return int(row[0]) if row else 0


def _size(team: Team) -> tuple[dict[str, float], int]:
    everybody = usage.snapshot()
    found = usage.members(everybody, team.roots)
    processes = sum(len(members) for name, members in found.items() if name != POSTGRES)
    return usage.memory(everybody, team.roots), processes


def _cpu(team: Team, seconds: float) -> float:
    begin, since = usage.cpu(usage.snapshot(), team.roots), machine.busy().at
    time.sleep(seconds)
    used = sum(grown(begin, usage.cpu(usage.snapshot(), team.roots)).values())
    return used / (machine.busy().at - since)
