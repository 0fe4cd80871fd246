"""Executions whose run has ended before its time: continued under another run, or failed when it happens too often."""

from typing import Any
from uuid import UUID, uuid5

from psycopg.rows import DictRow

from tenant_pipelines.domain.workflow import Kind, Side, State, StepState
from tenant_pipelines.ledger import endings
from tenant_pipelines.ledger.claims import remember
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.rows import rests
from tenant_pipelines.ledger.steps import fail_step, open_steps
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.wording import then

LOSSES_ALLOWED = 2
"""Workers a step may lose; with one more it fails (WorkerLost)."""


def next_run_id(execution_id: UUID, runs: int) -> UUID:
    """Derived, so that two callers who have seen the same make the same run, and Dagster refuses the second."""
    return uuid5(execution_id, f"run:{runs + 1}")


def replace_run(tx: Transaction, execution: DictRow, lost_run_id: UUID, catalogue: Catalogue) -> bool:
    """Claim the continuation of a locked execution, or fail its step (WorkerLost).

    Answers False when there is nothing (any more) to be done about this run.
    """
    if execution["run_id"] != lost_run_id or execution["closed_at"] is not None or rests(execution):
        return False
    lost = tx.one("count_loss", execution_id=execution["id"], lost_run_id=lost_run_id)
    losses = lost["losses"] if lost else execution["losses"] + 1
    if losses > LOSSES_ALLOWED and execution["state"] == State.FORWARD:
        open_step = next(iter(open_steps(tx, execution["id"], catalogue)), catalogue.last.name)
        _worker_lost(tx, execution, lost["step"] if lost else open_step, catalogue)
        return True
    runs = tx.only("count_runs", execution_id=execution["id"])["n"]
    run_id = next_run_id(execution["id"], runs)
    kind = Kind.CONTINUATION if execution["state"] == State.FORWARD else Kind.ROLLBACK
    tx.only(
        "replace_run",
        id=execution["id"],
        run_id=run_id,
        lost_run_id=lost_run_id,
        message="Going on after a lost worker",
    )
    tx.do("insert_run", run_id=run_id, execution_id=execution["id"], kind=kind.value)
    remember(tx, execution, "WorkerLost", step=lost["step"] if lost else None, details={"run": str(lost_run_id)})
    return True


def _worker_lost(tx: Transaction, execution: DictRow, step: str, catalogue: Catalogue) -> None:
    lost = catalogue.step(step)
    past_pivot = lost.number > catalogue.pivot.number
    error = (
        f"{lost.symptom}: the step has lost its worker {LOSSES_ALLOWED + 1} times (WorkerLost).\n"
        f"Way out: see why workers die (memory, the worker's log)\n"
        f"Then: {then(execution['tenant_key'], active=past_pivot)}"
    )
    fail_step(tx, execution["id"], Side.DO, step, state=StepState.FAILED, error=error, code="WorkerLost")
    if execution["cancel_requested_at"] is not None:
        endings.stop_for_cancel(tx, execution, catalogue)
        return
    failed: dict[str, Any] = {"step": step, "error": error, "code": "WorkerLost", "transient": True}
    if past_pivot:
        endings.fail_past_pivot(tx, execution, **failed)
    else:
        endings.fail_before_pivot(tx, execution, **failed)
