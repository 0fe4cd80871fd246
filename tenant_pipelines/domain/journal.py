"""The log markers that operators search for (the contract, section Logs)."""

from enum import StrEnum
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.workflow import Execution, State


class Marker(StrEnum):
    """What has happened to a workflow."""

    START = "FLOW_START"
    STEP = "FLOW_STEP"
    COMPLETE = "FLOW_COMPLETE"
    FAIL = "FLOW_FAIL"
    ROLLBACK = "FLOW_ROLLBACK"
    SIGNAL = "FLOW_SIGNAL"
    QUERY = "FLOW_QUERY"


class Journal(Protocol):
    """Writes one line; never a secret. FAIL is written once per failed execution, by whoever closes it."""

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None: ...


def note_about(journal: Journal, execution: Execution, marker: Marker, text: str) -> None:
    """One line about an execution, at the step where it failed or stands."""
    journal.note(
        marker,
        text,
        tenant_id=execution.tenant_id,
        workflow_id=execution.workflow_id,
        run_id=execution.id,
        step=execution.failed_step or execution.step,
    )


def note_end(journal: Journal, execution: Execution) -> None:
    """What is to be said when the execution, or its forward side, has just ended; nothing while it goes on."""
    match execution.state:
        case State.COMPLETED:
            note_about(journal, execution, Marker.COMPLETE, f"Tenant {execution.tenant_key} is provisioned")
        case State.FAILED:
            note_about(journal, execution, Marker.FAIL, execution.error or "no error was recorded")
        case State.CANCELLED:
            note_about(journal, execution, Marker.COMPLETE, f"cancelled by {execution.cancel_requested_by}")
        case State.ROLLBACK_DUE:
            because = execution.error or f"cancelled by {execution.cancel_requested_by}"
            note_about(journal, execution, Marker.ROLLBACK, f"due: {because}")
        case _:
            pass
