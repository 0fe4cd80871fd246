"""The way back, as the ledger records it: what is undone, what is not, and the end of a rollback."""

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import DictRow

from tenant_pipelines.domain.failures import Failure
from tenant_pipelines.domain.workflow import Leftover, Side, StepState
from tenant_pipelines.ledger import endings
from tenant_pipelines.ledger.claims import remember
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.steps import Entry
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.ledger import UndoReport


def undone(entry: Entry, attempt: int) -> bool:
    """Nothing of the step is left. Answers False, with nothing written, where that is recorded already."""
    recorded = entry.finish(attempt, StepState.DONE, facts={})
    if recorded and entry.execution["losses"]:
        entry.tx.do("forget_losses", id=entry.execution["id"])
    return bool(recorded)


def undo_failed(entry: Entry, failure: Failure, error: str, left: Sequence[Leftover]) -> None:
    """The undo could not be done this time; what is left as of now is kept for the list."""
    entry.fail(StepState.FAILED, error=error, code=failure.code, left=[thing.as_json() for thing in left])
    entry.tx.do("undo_failing", id=entry.execution["id"])
    entry.remember("CompensationFailed", details={"error": error})


def report(tx: Transaction, execution: DictRow) -> UndoReport:
    """How the undo sides stand."""
    failing = tx.all("failing_undo", execution_id=execution["id"])
    until = execution["sweep_until"]
    too_early = until is not None and tx.all("looked_too_early", execution_id=execution["id"], until=until)
    return UndoReport(
        {row["step"]: row["error"] for row in failing},
        execution["undo_failing_since"] if failing else None,
        until if too_early else None,
    )


def again_at(tx: Transaction, execution: DictRow, at: datetime, because: str) -> None:
    """Another pass, later; what has to be undone again is opened again."""
    tx.do("undo_once_more", execution_id=execution["id"])
    tx.do("rollback_again_at", id=execution["id"], at=at, message=f"Rolling back again at {at:%H:%M:%S}: {because}")
    remember(tx, execution, "CompensationScheduled", details={"at": at.isoformat(), "because": because})
    tx.do("announce_wake", execution_id=execution["id"])


def close(tx: Transaction, execution: DictRow, catalogue: Catalogue) -> None:
    """Nothing more can be undone: the execution ends, with the list of what is left."""
    undo = [row for row in tx.all("steps_of", execution_id=execution["id"]) if row["side"] == Side.UNDO]
    done = [row["step"] for row in undo if row["state"] == StepState.DONE]
    failed = [row for row in undo if row["state"] == StepState.FAILED]
    endings.end_rollback(
        tx,
        execution,
        compensated=[*done, catalogue.steps[0].name],
        looked_at=[*done, *(row["step"] for row in failed)],
        left=[Leftover(**thing) for row in failed for thing in row["found"]],
    )
