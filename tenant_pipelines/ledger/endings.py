"""How executions end: completed, failed, cancelled; with the tenant's row, the waiters and the history told at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import DictRow

from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Leftover, Side, State, StepState
from tenant_pipelines.ledger.claims import PROVISION_ERRORS, remember
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.rows import leftover_of
from tenant_pipelines.ledger.steps import open_steps
from tenant_pipelines.saga.catalogue import Catalogue

EVENTS = {
    State.COMPLETED: "WorkflowExecutionCompleted",
    State.FAILED: "WorkflowExecutionFailed",
    State.CANCELLED: "WorkflowExecutionCanceled",
}
MADE = ["schemaName", "storageBucket", "idpOrganizationId", "appPlaneUrl", "adminPortalUrl", "provisionedAt"]
"""Metadata that a rollback makes untrue."""


def complete(tx: Transaction, execution: DictRow) -> None:
    """The workflow has reached its end; the tenant has been ACTIVE since step 10."""
    _close(tx, execution, State.COMPLETED, _result(tx, execution), "Completed")


def fail_before_pivot(
    tx: Transaction, execution: DictRow, *, step: str, error: str, code: str, transient: bool
) -> None:
    """The forward side has ended: the rollback is due."""
    tx.only(
        "rollback_due",
        id=execution["id"],
        failed_step=step,
        error=f"PROVISION_FAILED: {error}",
        error_code=code,
        transient=transient,
    )


def fail_past_pivot(
    tx: Transaction, execution: DictRow, *, step: str, error: str, code: str, transient: bool = False
) -> None:
    """The tenant stays ACTIVE, what is owed is listed, a retry resumes at the step."""
    tx.do("owe", tenant_id=execution["tenant_id"], step=step, execution_id=execution["id"])
    tx.do("note_failure", id=execution["id"], failed_step=step, error=error, error_code=code, transient=transient)
    tx.do(
        "set_metadata",
        tenant_id=execution["tenant_id"],
        drop=[],
        metadata={"provisioningError": error, "failedAt": step},
    )
    result = {"failedStep": step, "error": error, "code": code, "compensated": [], "leftBehind": []}
    _close(tx, execution, State.FAILED, result, f"Failed at {step}")


def stop_for_cancel(tx: Transaction, execution: DictRow, catalogue: Catalogue) -> None:
    """A cancelled execution takes no further step: its rollback is due; past the pivot it ends here."""
    if State(execution["state"]) is not State.FORWARD:
        return
    pivot = tx.one("step_of", execution_id=execution["id"], side=Side.DO, step=catalogue.pivot.name)
    if pivot is not None and pivot["state"] == StepState.DONE:
        cancel_past_pivot(tx, execution, open_steps(tx, execution["id"], catalogue))
        return
    tx.only("rollback_due", id=execution["id"], failed_step=None, error=None, error_code="Cancelled", transient=False)


def cancel_past_pivot(tx: Transaction, execution: DictRow, owed: Sequence[str]) -> None:
    """The tenant stays ACTIVE; what has not been done is owed."""
    for step in owed:
        tx.do("owe", tenant_id=execution["tenant_id"], step=step, execution_id=execution["id"])
    _close(tx, execution, State.CANCELLED, {"owed": list(owed)}, "Cancelled")


def end_rollback(
    tx: Transaction,
    execution: DictRow,
    *,
    compensated: Sequence[str],
    looked_at: Sequence[str],
    left: Sequence[Leftover],
) -> None:
    """Everything that could be undone is: PROVISION_FAILED, or PROVISION_CANCELLED after a cancel.

    Args: looked_at: the steps whose undo has looked; what an earlier execution left of any other one stays listed.
    """
    cancelled = execution["cancel_requested_at"] is not None and execution["error"] is None
    standing = _list_again(tx, execution, looked_at, left)
    metadata: dict[str, Any] = {}
    if not cancelled:
        metadata |= {"provisioningError": execution["error"], "failedAt": execution["failed_step"]}
    if standing:
        metadata |= {"requiresManualCleanup": True}
    else:
        tx.do("forget_placement", tenant_id=execution["tenant_id"])
    tx.only(
        "set_status",
        tenant_id=execution["tenant_id"],
        new=(Status.PROVISION_CANCELLED if cancelled else Status.PROVISION_FAILED).value,
        old=[Status.PROVISIONING.value],
        drop=[*PROVISION_ERRORS, *MADE, "requiresManualCleanup"],
        metadata=metadata,
    )
    result = {
        "failedStep": execution["failed_step"],
        "error": execution["error"],
        "code": execution["error_code"],
        "compensated": list(compensated),
        "leftBehind": [thing.as_json() for thing in standing],
    }
    state = State.CANCELLED if cancelled else State.FAILED
    _close(tx, execution, state, result, "Cancelled" if cancelled else f"Failed at {execution['failed_step']}")


def activate(tx: Transaction, execution: DictRow, metadata: Mapping[str, Any]) -> None:
    """The tenant is ACTIVE. What an earlier execution had left of a step that is done now is the tenant's own again."""
    steps = tx.all("steps_of", execution_id=execution["id"])
    done = [row["step"] for row in steps if row["side"] == Side.DO and row["state"] == StepState.DONE]
    standing = _list_again(tx, execution, done, ())
    tx.only(
        "set_status",
        tenant_id=execution["tenant_id"],
        new=Status.ACTIVE.value,
        old=[Status.PROVISIONING.value],
        drop=[] if standing else ["requiresManualCleanup"],
        metadata=dict(metadata),
    )


def left_behind(tx: Transaction, tenant_id: object) -> list[Leftover]:
    """What is listed as left behind for the tenant."""
    return [leftover_of(row) for row in tx.all("left_behind_of_tenant", tenant_id=tenant_id)]


def _list_again(
    tx: Transaction, execution: DictRow, looked_at: Sequence[str], left: Sequence[Leftover]
) -> list[Leftover]:
    """What these steps have left is exactly this; answers the tenant's whole list."""
    tx.do("settle_left_behind", tenant_id=execution["tenant_id"], by="engine", steps=list(looked_at))
    for thing in left:
        tx.do(
            "list_left_behind",
            tenant_id=execution["tenant_id"],
            execution_id=execution["id"],
            system=thing.system,
            kind=thing.kind,
            object_id=thing.id,
            name=thing.name,
            step=thing.step,
            reason=thing.reason,
        )
    return left_behind(tx, execution["tenant_id"])


def _close(tx: Transaction, execution: DictRow, state: State, result: Mapping[str, Any], message: str) -> None:
    tx.only("close_execution", id=execution["id"], state=state.value, result=dict(result), message=message)
    remember(
        tx, execution, EVENTS[state], details={"failedStep": result.get("failedStep"), "error": result.get("error")}
    )
    tx.do("announce", execution_id=execution["id"])


def _result(tx: Transaction, execution: DictRow) -> dict[str, Any]:
    metadata = tx.only("tenant_with_all", tenant_id=execution["tenant_id"])["metadata"]
    resources = tx.all("resources_of", tenant_id=execution["tenant_id"])
    return {
        "success": True,
        "tenantId": str(execution["tenant_id"]),
        "workflowId": execution["workflow_id"],
        "appPlaneUrl": metadata.get("appPlaneUrl"),
        "adminPortalUrl": metadata.get("adminPortalUrl"),
        "resources": [{"type": row["type"], "id": row["external_identifier"]} for row in resources],
        "idpOrganizationId": metadata.get("idpOrganizationId"),
        "schemaName": metadata.get("schemaName"),
        "storageBucket": metadata.get("storageBucket"),
    }
