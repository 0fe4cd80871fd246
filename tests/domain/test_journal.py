"""What is said of an end."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from tenant_pipelines.domain.journal import Marker, note_end
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.domain.workflow import PROVISION, Execution, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = Execution(
    id=uuid4(),
    workflow_id="provision-tenant-x",
    workflow_type=PROVISION,
    tenant_id=uuid4(),
    tenant_key="acme",
    tier=Tier.POOLED,
    generation=1,
    state=State.FORWARD,
    run_id=uuid4(),
    step="deploying_application",
    progress=60,
    message="",
    started_at=NOW,
    updated_at=NOW,
    cancel_requested_by="ann",
)


@dataclass
class Heard:
    lines: list[tuple[Marker, str, str | None]] = field(default_factory=list)

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        assert (tenant_id, workflow_id, run_id) == (RUNNING.tenant_id, RUNNING.workflow_id, RUNNING.id)
        self.lines.append((marker, text, step))


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (State.COMPLETED, None, (Marker.COMPLETE, "Tenant acme is provisioned", "deploying_application")),
        (State.FAILED, "S3 said no", (Marker.FAIL, "S3 said no", "provisioning_storage")),
        (State.CANCELLED, None, (Marker.COMPLETE, "cancelled by ann", "deploying_application")),
        (State.ROLLBACK_DUE, "S3 said no", (Marker.ROLLBACK, "due: S3 said no", "provisioning_storage")),
        (State.ROLLBACK_DUE, None, (Marker.ROLLBACK, "due: cancelled by ann", "deploying_application")),
        (State.FORWARD, None, None),
        (State.ROLLING_BACK, "S3 said no", None),
    ],
)
def test_each_end_has_its_line(state: State, error: str | None, said: tuple[Marker, str, str] | None) -> None:
    heard = Heard()

    note_end(heard, replace(RUNNING, state=state, error=error, failed_step="provisioning_storage" if error else None))

    assert heard.lines == ([said] if said else [])
