"""Parked executions as whoever wakes them sees them: what is due, looks that are put off, the claim of the next run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.workflow import Execution, Kind, State
from tenant_pipelines.ledger.claims import remember
from tenant_pipelines.ledger.database import Database, Transaction
from tenant_pipelines.ledger.lost_workers import next_run_id
from tenant_pipelines.ledger.rows import execution_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parked execution, with what a look at its step needs.

    Args:
        due: whether it is to be looked at by now. token: of what goes on outside, or None.
        placement: the names recorded for the tenant.
        look_every: seconds between two looks, at least; None for a step that is not to be looked at.
        look_until: the end of the step's time.
    """

    execution: Execution
    due: bool
    token: Mapping[str, str] | None
    placement: Mapping[str, str]
    look_every: float | None
    look_until: datetime | None

    @property
    def mark(self) -> Mark:
        """The tenant's ownership mark."""
        return Mark(str(self.execution.tenant_id), self.execution.tenant_key)


def due(database: Database, *, limit: int) -> list[Waiting]:
    """What is due now or within a second, longest overdue first."""
    return [_waiting(row) for row in database.run(lambda tx: tx.all("due_parked", limit=limit))]


def look_later(database: Database, put_off: Sequence[tuple[Waiting, float]]) -> list[Waiting]:
    """Move the next look at each so many seconds ahead; answers those, with their new time, whose time was as seen."""
    moved = database.run(
        lambda tx: tx.all(
            "look_later",
            ids=[waiting.execution.id for waiting, _ in put_off],
            seen=[waiting.execution.wake_at for waiting, _ in put_off],
            seconds=[seconds for _, seconds in put_off],
        )
    )
    at = {row["id"]: row["wake_at"] for row in moved}
    return [
        replace(waiting, execution=replace(waiting.execution, wake_at=at[waiting.execution.id]))
        for waiting, _ in put_off
        if waiting.execution.id in at
    ]


def wake(database: Database, parked: Execution) -> Execution | None:
    """Claim the run that goes on at the step where it has parked; None when somebody else has."""

    def work(tx: Transaction) -> Execution | None:
        tx.only("lock_execution", id=parked.id)
        runs = tx.only("count_runs", execution_id=parked.id)["n"]
        run_id = next_run_id(parked.id, runs)
        row = tx.one("wake_execution", id=parked.id, run_id=run_id, parked_run_id=parked.run_id, runs=runs)
        if row is None:
            return None
        kind = Kind.CONTINUATION if State(row["state"]) is State.FORWARD else Kind.ROLLBACK
        step = parked.parked_step
        tx.do("insert_woken_run", run_id=run_id, execution_id=parked.id, kind=kind.value, step=step)
        remember(tx, row, "TimerFired", step=step)
        return execution_of(row)

    return database.run(work)


def parked_before(database: Database, run_id: UUID) -> str | None:
    """The step at which the execution had parked before this run; None where the run does not go on after a wait."""
    row = database.run(lambda tx: tx.one("parked_step_of_run", run_id=run_id))
    return row["parked_step"] if row else None


def _waiting(row: DictRow) -> Waiting:
    return Waiting(execution_of(row), row["due"], row["token"], row["names"], row["look_every"], row["look_until"])
