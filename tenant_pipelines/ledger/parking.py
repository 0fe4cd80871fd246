"""Waits that hold no worker, as a run records them: from then on it may not act, until somebody wakes the execution."""

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.ledger.steps import Entry
from tenant_pipelines.saga.ledger import Parked, Rest

HANDED_OVER = "Handed over to another worker"


def park(entry: Entry, rest: Rest) -> Parked:
    """The step has been begun, and waits; this run may act, and nobody has asked for a cancel."""
    if rest.attempt is not None:
        entry.end_waiting(rest.attempt)
    entry.tx.do(
        "park_step",
        execution_id=entry.execution["id"],
        side=entry.side.value,
        step=entry.step.name,
        token=None if rest.token is None else Jsonb(dict(rest.token)),
        look_every=rest.look_every,
        look_until=rest.until,
    )
    return _park(entry, rest.wake_in, rest.reason)


def hand_over(entry: Entry) -> Parked:
    """The step has not been begun by this run, and is to be by another one, as soon as there is one."""
    return _park(entry, 0.0, HANDED_OVER)


def parked_by(entry: Entry) -> Parked | None:
    """What this run has answered already where it has parked at this step."""
    execution = entry.execution
    here = (entry.run_id, entry.step.name, entry.side.value)
    return _parked(execution) if here == tuple(execution[k] for k in ("run_id", "parked_step", "parked_side")) else None


def _park(entry: Entry, wake_in: float, reason: str) -> Parked:
    tx, execution = entry.tx, entry.execution
    parked = tx.only(
        "park_execution",
        id=execution["id"],
        step=entry.step.name,
        side=entry.side.value,
        wake_in=wake_in,
        message=reason,
    )
    entry.remember("TimerStarted", details={"waitsFor": reason, "until": parked["wake_at"].isoformat()})
    tx.do("announce_wake", execution_id=execution["id"])
    return _parked(parked)


def _parked(row: DictRow) -> Parked:
    return Parked(
        execution_id=row["id"],
        workflow_id=row["workflow_id"],
        step=row["parked_step"],
        side=Side(row["parked_side"]),
        since=row["parked_at"],
        wake_at=row["wake_at"],
        reason=row["message"],
    )
