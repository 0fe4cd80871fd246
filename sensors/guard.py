"""Scans the ledger and pushes on whatever nobody else does: the guarantee behind hook and buttons."""

import json
from datetime import UTC, datetime
from uuid import UUID

from dagster import DefaultSensorStatus, ResourceParam, SensorEvaluationContext, SensorResult, SkipReason, sensor

from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import Push, scan

BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@sensor(
    name="workflow_guard",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Continues lost workers, starts rollbacks that are due, ends waits whose time is over.",
)
def workflow_guard(context: SensorEvaluationContext, desk: ResourceParam[Desk]) -> SensorResult:
    """One page a tick; the cursor is where the page ended."""
    pushes, cursor = scan(desk, after=_read(context.cursor), by="workflow_guard")
    done = [push for push in pushes if push is not Push.NOTHING]
    return SensorResult(
        skip_reason=SkipReason(f"{len(pushes)} running, {len(done)} pushed on: {', '.join(done) or '-'}"),
        cursor=_write(cursor),
    )


def _read(cursor: str | None) -> tuple[datetime, UUID]:
    if not cursor:
        return BEGINNING
    at, execution = json.loads(cursor)
    return datetime.fromisoformat(at), UUID(execution)


def _write(cursor: tuple[datetime, UUID] | None) -> str:
    return json.dumps([cursor[0].isoformat(), str(cursor[1])]) if cursor else ""
