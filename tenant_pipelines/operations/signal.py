"""Delivers a signal to a tenant's workflow, exactly once for each key."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import Execution, provision_workflow_id
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
            _note(desk, cancelled, f"{name} by {claimant.by}", Marker.SIGNAL)
            return None
        case _:
            raise Refused(Code.INVALID, f"Unknown signal {name[:60]!r}; known are {CONFIRMED} and {CANCELLED}.")


def _confirmed(desk: Desk, workflow_id: str, payload: Mapping[str, Any], key: str, claimant: Claimant) -> Received:
    received, execution = desk.ledger.receive_signal(
        workflow_id, name=CONFIRMED, step=desk.provisioning.last.name, payload=payload, key=key, claimant=claimant
    )
    _note(desk, execution, f"{CONFIRMED} by {claimant.by}: {received}", Marker.SIGNAL)
    if received is Received.COMPLETED:
        _note(desk, execution, f"Tenant {execution.tenant_key} is provisioned", Marker.COMPLETE)
    elif received is Received.FAILED:
        _note(desk, execution, execution.error or "", Marker.FAIL)
    return received


def _note(desk: Desk, execution: Execution, text: str, marker: Marker) -> None:
    desk.journal.note(
        marker,
        text,
        tenant_id=execution.tenant_id,
        workflow_id=execution.workflow_id,
        run_id=execution.id,
        step=execution.step,
    )
