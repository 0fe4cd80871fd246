"""From rows to the values of the domain, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Contact, Status, Subscription, Tenant, Tier
from tenant_pipelines.domain.workflow import Execution, Leftover, Side, State


def tenant_of(row: DictRow) -> Tenant:
    """A row of `tenant_with_all`, or of `list_tenants` (without contacts and subscription)."""
    subscription = row.get("subscription")
    return Tenant(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        status=Status(row["status"]),
        tier=Tier(row["tier"]),
        domains=tuple(row["domains"]),
        metadata=row["metadata"],
        created_on=row["created_on"],
        modified_on=row["modified_on"],
        contacts=tuple(Contact(**contact) for contact in row.get("contacts") or ()),
        subscription=Subscription(UUID(subscription["id"]), subscription["plan_id"]) if subscription else None,
    )


def execution_of(row: DictRow) -> Execution:
    """A row of `engine.executions`."""
    return Execution(
        id=row["id"],
        workflow_id=row["workflow_id"],
        workflow_type=row["workflow_type"],
        tenant_id=row["tenant_id"],
        tenant_key=row["tenant_key"],
        tier=Tier(row["tier"]),
        generation=row["generation"],
        state=State(row["state"]),
        run_id=row["run_id"],
        step=row["step"],
        progress=row["progress"],
        message=row["message"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        closed_at=row["closed_at"],
        failed_step=row["failed_step"],
        error=row["error"],
        error_code=row["error_code"],
        cancel_requested_by=row["cancel_requested_by"],
        waiting_until=row["waiting_until"],
        next_undo_at=row["next_undo_at"],
        parked_step=row["parked_step"],
        parked_side=Side(row["parked_side"]) if row["parked_side"] else None,
        parked_at=row["parked_at"],
        wake_at=row["wake_at"],
        losses=row["losses"],
        result=row["result"],
        input=row["input"],
    )


def rests(row: DictRow) -> bool:
    """Whether no run acts for the execution, and none is to: it is parked, waits for a signal, or for its next undo."""
    return any(row[until] is not None for until in ("parked_at", "waiting_until", "next_undo_at"))


def refs_as_json(refs: Sequence[ObjectRef]) -> Jsonb:
    """References for a jsonb column."""
    return Jsonb([asdict(ref) for ref in refs])


def refs_of(found: Sequence[Mapping[str, Any]]) -> list[ObjectRef]:
    """References from a jsonb column."""
    return [ObjectRef(**ref) for ref in found]


def leftover_of(row: DictRow) -> Leftover:
    """A row of `left_behind_of_tenant`."""
    return Leftover(row["system"], row["kind"], row["name"], row["object_id"], row["step"], row["reason"])
