"""The one way into an execution: whoever inserts its row has the tenant's lock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import PROVISION_FROM, RESERVED_IDS, RESERVED_KEYS, Status
from tenant_pipelines.domain.workflow import PROVISION, provision_workflow_id
from tenant_pipelines.ledger.database import Transaction

PROVISION_ERRORS = ["provisioningError", "failedAt"]


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who wants the execution, through which door, and why.

    Args: source: rest, temporal, cli, dagster-ui, sensor. request_id: the caller's idempotency key, or None.
    """

    by: str
    source: str
    reason: str | None = None
    request_id: str | None = None


def claim_provision(
    tx: Transaction, *, tenant_id: UUID, run_id: UUID, version: int, claimant: Claimant, given: Mapping[str, Any]
) -> DictRow:
    """Insert the execution and set the tenant's status with it.

    Args: run_id: becomes the execution's id. version: the catalogue's. given: the workflow's input.
    Raises: Refused NOT_FOUND, RESERVED, BUSY, WRONG_STATE.
    """
    if tenant_id in RESERVED_IDS:
        raise Refused(Code.RESERVED, f"Tenant {tenant_id} is the platform's own and is never provisioned.")
    tenant = tx.one("lock_tenant", tenant_id=tenant_id)
    if tenant is None:
        raise Refused(Code.NOT_FOUND, f"There is no tenant {tenant_id}. List them with: tenant-pipelines tenant list")
    if tenant["key"] in RESERVED_KEYS:
        raise Refused(Code.RESERVED, f"The key {tenant['key']!r} is reserved: its tenant is never provisioned.")
    running = tx.one("running_execution_of_tenant", tenant_id=tenant_id)
    if running is not None and running["id"] == run_id:  # by this very call, whose answer was lost
        return running
    if running is not None:
        raise busy(running)
    status = Status(tenant["status"])
    if status not in PROVISION_FROM:
        allowed = ", ".join(sorted(s.name for s in PROVISION_FROM))
        raise Refused(
            Code.WRONG_STATE,
            f"Tenant {tenant['key']} is {status.name} and cannot be provisioned; it can from {allowed}.",
        )
    return tx.only(
        "claim_provision",
        id=run_id,
        workflow_id=provision_workflow_id(tenant_id),
        workflow_type=PROVISION,
        tenant_id=tenant_id,
        tenant_key=tenant["key"],
        tier=tenant["tier"],
        catalogue_version=version,
        input=dict(given),
        requested_by=claimant.by,
        source=claimant.source,
        reason=claimant.reason,
        request_id=claimant.request_id,
        old_status=status.value,
        new_status=Status.PROVISIONING.value,
        drop=PROVISION_ERRORS,
        details=_said({"by": claimant.by, "reason": claimant.reason}),
        changes={"status": {"old": status.name, "new": Status.PROVISIONING.name}},
    )


def busy(running: Mapping[str, Any]) -> Refused:
    """The refusal while a workflow of the tenant runs."""
    return Refused(
        Code.BUSY,
        f"Workflow {running['workflow_id']} of tenant {running['tenant_key']} is running (run {running['id']}, "
        f"step {running['step'] or 'not begun'}). Wait for its end, or cancel it: "
        f"tenant-pipelines workflow signal {running['workflow_id']} provisioningCancelled",
    )


def act(
    tx: Transaction,
    claimant: Claimant,
    action: str,
    *,
    outcome: str = "done",
    tenant_id: UUID | None = None,
    execution: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write into the audit who does what, when and why, in the transaction that does it.

    Args: tenant_id: whom it is about, where there is no execution. changes: what has changed by it.
    """
    tx.do(
        "insert_action",
        performed_by=claimant.by,
        source=claimant.source,
        action=action,
        outcome=outcome,
        tenant_id=execution["tenant_id"] if execution else tenant_id,
        workflow_id=execution["workflow_id"] if execution else None,
        run_id=execution["id"] if execution else None,
        reason=claimant.reason,
        request_id=claimant.request_id,
        changes=dict(changes or {}),
    )


def remember(
    tx: Transaction,
    execution: Mapping[str, Any],
    kind: str,
    *,
    step: str | None = None,
    attempt: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Append one event to the execution's history; its row must be locked or new, so that the numbers follow."""
    tx.do(
        "append_history",
        execution_id=execution["id"],
        type=kind,
        step=step,
        attempt=attempt,
        details=_said(details or {}),
    )


def _said(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value is not None}
