"""Delivers a signal to a tenant's workflow, exactly once for each key."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.journal import Marker, note_about, note_end
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import provision_workflow_id
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.confirmation import Received
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import confirmation

CONFIRMED = "appPlaneProvisioned"
CANCELLED = "provisioningCancelled"


def signal(
    desk: Desk, tenant_id: UUID, name: str, payload: Mapping[str, Any], *, key: str, claimant: Claimant
) -> Received | None:
    """Deliver it to the newest execution of the tenant's provisioning.

    Args: key: names this delivery, so that a repeated one has no effect (the webhook's id, the request's id).
    Raises: Refused INVALID, NOT_FOUND, WRONG_STATE.
    """
    workflow_id = provision_workflow_id(tenant_id)
    match name:
        case "appPlaneProvisioned":
            return _confirmed(desk, workflow_id, confirmation(payload).as_json(), key, claimant)
        case "provisioningCancelled":
            cancelled = desk.ledger.request_cancel(workflow_id, claimant)
            note_about(desk.journal, cancelled, Marker.SIGNAL, f"{name} by {claimant.by}")
            note_end(desk.journal, cancelled)
            return None
        case _:
            raise Refused(Code.INVALID, f"Unknown signal {name[:60]!r}; known are {CONFIRMED} and {CANCELLED}.")


def _confirmed(desk: Desk, workflow_id: str, payload: Mapping[str, Any], key: str, claimant: Claimant) -> Received:
    received, execution = desk.ledger.receive_signal(
        workflow_id, name=CONFIRMED, step=desk.provisioning.last.name, payload=payload, key=key, claimant=claimant
    )
    note_about(desk.journal, execution, Marker.SIGNAL, f"{CONFIRMED} by {claimant.by}: {received}")
    if received in {Received.COMPLETED, Received.FAILED}:
        note_end(desk.journal, execution)
    return received
