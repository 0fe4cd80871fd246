"""One execution of a workflow, its steps, and the states they pass through.

The ledger stores these; Dagster's run status is never asked for an outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.tenant import Tier

PROVISION = "provisionTenantWorkflow"
DEPROVISION = "deprovisionTenantWorkflow"

UNDO = "undo_"
"""Before a step's name: the node of its undo side."""


def provision_workflow_id(tenant_id: UUID) -> str:
    """The workflow id of a tenant's provisioning; an id alone means its newest execution."""
    return f"provision-tenant-{tenant_id}"


class State(StrEnum):
    """Where an execution stands."""

    FORWARD = "forward"
    ROLLBACK_DUE = "rollback_due"
    """The forward side has ended; nobody has claimed the rollback yet."""
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def closed(self) -> bool:
        """Whether nothing will happen in it any more."""
        return self in {State.COMPLETED, State.FAILED, State.CANCELLED, State.TERMINATED}

    @property
    def word(self) -> str:
        """The status word for people: running until it is closed."""
        return self.value if self.closed else "running"


class StepState(StrEnum):
    """Where one side of a step stands."""

    STARTED = "started"
    """The intent is durable; the effect may or may not be there."""
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not for this tier, or never begun and so nothing to undo."""
    OWED = "owed"
    """It could not be done, the workflow went on without it, and it is still to be done."""


class Side(StrEnum):
    """The two sides of a step."""

    DO = "do"
    UNDO = "undo"


class Kind(StrEnum):
    """What a Dagster run is to its execution; shown as the run's tag `kind`."""

    FORWARD = "forward"
    CONTINUATION = "continuation"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as the ledger has it.

    Args:
        id: its run id: the first Dagster run's.
        generation: counts the tenant's executions; what an old one still wants to write is refused.
        run_id: the one Dagster run that may act for it at present.
        failed_step, error, error_code: there from the failure on, while the rollback still runs.
        cancel_requested_by: who asked for a cancel, or None.
        waiting_until: while a signal is waited for: when the workflow completes without it.
        next_undo_at: between two passes of a rollback: when the next one begins.
        parked_step, parked_side, parked_at: while it is parked: at which step, and since when.
        wake_at: while it is parked: when it is looked at again.
        losses: runs lost one after the other, without a step in between.
    """

    id: UUID
    workflow_id: str
    workflow_type: str
    tenant_id: UUID
    tenant_key: str
    tier: Tier
    generation: int
    state: State
    run_id: UUID
    step: str | None
    progress: int
    message: str
    started_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    failed_step: str | None = None
    error: str | None = None
    error_code: str | None = None
    cancel_requested_by: str | None = None
    waiting_until: datetime | None = None
    next_undo_at: datetime | None = None
    parked_step: str | None = None
    parked_side: Side | None = None
    parked_at: datetime | None = None
    wake_at: datetime | None = None
    losses: int = 0
    result: Mapping[str, Any] | None = None
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def parked(self) -> bool:
        """Whether it waits at a step, and no run may act for it until it is woken."""
        return self.parked_at is not None


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that is left behind (the contract: leftBehind)."""

    system: str
    kind: str
    name: str
    id: str
    step: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """As every door shows it."""
        return {
            "system": self.system,
            "kind": self.kind,
            "name": self.name,
            "id": self.id,
            "step": self.step,
            "reason": self.reason,
        }
