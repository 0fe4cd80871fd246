"""One execution with its history, wherever it is kept by now: in the ledger, or in the archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.archive import Archive
from tenant_pipelines.operations.operations import Desk


@dataclass(frozen=True, slots=True)
class Shown:
    """An execution. Args: archived: it, or its history, has been moved to the archive."""

    execution: Execution
    history: Sequence[DictRow]
    archived: bool


def show(desk: Desk, workflow_id: str, run_id: UUID | None = None) -> Shown:
    """The newest execution of the workflow, or the one with that run id.

    Raises: Refused NOT_FOUND, UNAVAILABLE.
    """
    archive = Archive(desk.ledger.database)
    execution = _in_ledger(desk, workflow_id, run_id)
    if execution is None:
        execution = archive.execution(workflow_id, run_id)
        if execution is None:
            raise Refused(Code.NOT_FOUND, _unknown(workflow_id, run_id))
        return Shown(execution, archive.history(execution.id), archived=True)
    history = desk.ledger.history(execution.id)
    moved = [] if history else archive.history(execution.id)
    return Shown(execution, history or moved, archived=bool(moved))


def _in_ledger(desk: Desk, workflow_id: str, run_id: UUID | None) -> Execution | None:
    if run_id is not None:
        found = desk.ledger.execution_of_run(run_id)
        return found if found and (found.workflow_id, found.id) == (workflow_id, run_id) else None
    try:
        return desk.ledger.execution(workflow_id)
    except Refused as refused:
        if refused.code is not Code.NOT_FOUND:
            raise
        return None


def _unknown(workflow_id: str, run_id: UUID | None) -> str:
    known = f"There is no workflow {workflow_id[:120]!r}"
    return f"{known} with run {run_id}." if run_id else f"{known}."
