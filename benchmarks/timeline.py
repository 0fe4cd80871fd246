"""Where the time of one execution went, from the ledger's own timestamps.

Every timestamp is the begin of the transaction that wrote it. A step's `inside` therefore runs from the begin of the
transaction that made its intent durable to the begin of the one that recorded its effect: it holds the first of the
two transactions, the adapter, and the fence before each of the adapter's writes. The rest of the step, until the next
one begins, is the second transaction and what Dagster does between two ops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from benchmarks.figures import summary
from benchmarks.results import Step

Row = Mapping[str, Any]

_EXECUTION = "select started_at, closed_at, state, step, error from engine.executions where id = %s"
_STEPS = """
select s.number, s.step, s.state, s.started_at,
       coalesce((select sum(extract(epoch from a.ended_at - a.started_at)) from engine.attempts a
                  where a.execution_id = s.execution_id and a.side = s.side and a.step = s.step), 0)::float as inside,
       (select max(a.ended_at) from engine.attempts a
         where a.execution_id = s.execution_id and a.side = s.side and a.step = s.step) as last_end
  from engine.steps s where s.execution_id = %s and s.side = 'do' order by s.number
"""
_LAUNCH = "select queued_at, taken_at from engine.launches where run_id = %s"
_EVENTS = "select type, step, at from engine.history where execution_id = %s order by event_id"


@dataclass(frozen=True, slots=True)
class StepTime:
    """One step of one execution, in seconds; see the head of this file."""

    number: int
    name: str
    state: str
    whole: float
    inside: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """One execution.

    Args:
        events: the moment of each kind's first event, in Unix seconds.
        queued, taken: when its first run was handed over, and when a worker took it; None where there is no pool.
    """

    started: float
    first_step: float
    last_step_done: float
    closed: float
    state: str
    error: str | None
    steps: Sequence[StepTime]
    events: Mapping[str, float]
    queued: float | None = None
    taken: float | None = None


def read(connection: psycopg.Connection[Any], execution_id: UUID) -> Timeline:
    """Of an execution that has ended."""
    with connection.cursor(row_factory=dict_row) as cursor:
        execution = cursor.execute(_EXECUTION, [execution_id]).fetchone()
        steps = cursor.execute(_STEPS, [execution_id]).fetchall()
        events = cursor.execute(_EVENTS, [execution_id]).fetchall()
        launch = cursor.execute(_LAUNCH, [execution_id]).fetchone()
    if execution is None:
        raise LookupError(f"there is no execution {execution_id}")
    return timeline(execution, steps, events, launch or {})


def timeline(execution: Row, steps: Sequence[Row], events: Sequence[Row], launch: Row) -> Timeline:
    """From the rows."""
    first: dict[str, float] = {}
    for event in events:
        first.setdefault(event["type"], event["at"].timestamp())
    last_end = max((row["last_end"] for row in steps if row["last_end"]), default=execution["closed_at"])
    return Timeline(
        started=execution["started_at"].timestamp(),
        first_step=steps[0]["started_at"].timestamp(),
        last_step_done=last_end.timestamp(),
        closed=execution["closed_at"].timestamp(),
        state=execution["state"],
        error=execution["error"],
        steps=_times(steps, last_end),
        events=first,
        queued=_moment(launch.get("queued_at")),
        taken=_moment(launch.get("taken_at")),
    )


def _moment(at: datetime | None) -> float | None:
    return at.timestamp() if at else None


def _times(steps: Sequence[Row], end: datetime) -> list[StepTime]:
    """The last step's whole ends with its last attempt: then it waits for somebody else."""
    ends = [row["started_at"] for row in steps[1:]] + [max(end, steps[-1]["started_at"])]
    return [
        StepTime(
            row["number"],
            row["step"],
            row["state"],
            (until - row["started_at"]).total_seconds(),
            row["inside"],
        )
        for row, until in zip(steps, ends, strict=True)
    ]


def over_all(rounds: Sequence[Sequence[StepTime]]) -> list[Step]:
    """The steps of several executions of one tier, step by step."""
    return [
        Step(
            same[0].number,
            same[0].name,
            same[0].state,
            summary(step.whole for step in same),
            summary(step.inside for step in same),
        )
        for same in zip(*rounds, strict=True)
    ]
