"""Starts the provisioning of a tenant: one transaction takes the lock, then the run is launched."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.journal import Marker, note_about
from tenant_pipelines.domain.workflow import Execution, Kind
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.runs import Launch, NotLaunched


def start(desk: Desk, tenant_id: UUID, claimant: Claimant, given: Mapping[str, Any] | None = None) -> Execution:
    """Start `provision-tenant-{tenantId}`. Should the launch be lost, a sensor makes up for it.

    Args: given: the workflow's input beyond the tenant's id.
    Raises: Refused NOT_FOUND, RESERVED, BUSY, WRONG_STATE, UNAVAILABLE; nothing has changed then.
    """
    execution = desk.ledger.claim_provision(
        tenant_id,
        version=desk.provisioning.version,
        claimant=claimant,
        given={**(given or {}), "tenantId": str(tenant_id)},
        queue_limit=desk.queue_limit,
    )
    started = f"Provisioning of tenant {execution.tenant_key} by {claimant.by}"
    note_about(desk.journal, execution, Marker.START, started)
    try:
        desk.runs.launch(Launch(execution.id, execution, Kind.FORWARD))
    except NotLaunched as error:  # it is recorded, and begins as soon as the guard can launch it
        note_about(desk.journal, execution, Marker.START, f"{started}: not launched yet, {error}")
    return execution
