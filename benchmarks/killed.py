"""Kills a worker in the middle of a step (SIGKILL), and measures how soon another one goes on."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.contenders.lab import Lab
from benchmarks.contenders.ours import WARM
from benchmarks.contenders.team import Team
from benchmarks.failures import NotDone
from benchmarks.figures import summary
from benchmarks.idle_tenants import HELD
from benchmarks.results import Killed
from sandbox.stack.names import PRODUCT

STEP = "deploying_application"
PATIENCE = 60.0

_HOLDER = "select worker_pid from engine.launches where run_id = %s and state = 'taken'"
_ATTEMPTS = """
select started_at from engine.attempts where execution_id = %s and side = 'do' and step = %s order by number
"""
_REPLACED = "select min(created_at) from engine.runs where execution_id = %s and run_id <> execution_id"


@dataclass(frozen=True, slots=True)
class _Round:
    noticed: float
    continued: float
    known: float


def measure(lab: Lab, *, rounds: int, tell: Callable[[str], None]) -> Killed:
    """Several workers, one after the other.

    Raises: NotDone.
    """
    done: list[_Round] = []
    with WARM.at_work(lab) as team, psycopg.connect(lab.server.dsn(PRODUCT), autocommit=True) as ledger:
        team.client.one()
        for number in range(rounds):
            tell(f"worker {number + 1} of {rounds} is killed")
            done.append(_kill_one(team, ledger, WARM.holding(lab)))
    return Killed(
        summary(one.noticed for one in done),
        summary(one.continued for one in done),
        summary(one.known for one in done),
    )


def _kill_one(team: Team, ledger: psycopg.Connection[Any], held: Path) -> _Round:
    held.touch()
    try:
        execution = UUID(team.client.ask("begin", prefix=HELD, count=1)[0])
        _until(lambda: len(_attempts(ledger, execution)) == 1, "the step has begun")
        worker = _one(ledger, _HOLDER, execution)
        os.kill(int(worker), signal.SIGKILL)
        killed = time.time()
    finally:
        held.unlink(missing_ok=True)
    known = float(team.client.ask("end", execution=str(execution)))
    again = _attempts(ledger, execution)[1]
    replaced = _one(ledger, _REPLACED, execution).timestamp()
    return _Round(replaced - killed, again - killed, known - killed)


def _attempts(ledger: psycopg.Connection[Any], execution: UUID) -> list[float]:
    return [row[0].timestamp() for row in ledger.execute(_ATTEMPTS, [execution, STEP])]


def _one(ledger: psycopg.Connection[Any], query: str, *values: object) -> Any:  # noqa: ANN401 - a column of any type
    row = ledger.execute(query.encode(), values).fetchone()
    if row is None or row[0] is None:
        raise NotDone(f"the ledger has no answer: {' '.join(query.split())}")
    return row[0]


def _until(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > deadline:
            raise NotDone(f"not true within {PATIENCE:.0f} s: {what}")
        time.sleep(0.002)
