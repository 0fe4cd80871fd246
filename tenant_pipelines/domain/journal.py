"""The log markers that operators search for (the contract, section Logs)."""

from enum import StrEnum
from typing import Protocol
from uuid import UUID


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
