"""Scans the ledger and pushes on whatever nobody else does: the guarantee behind hook and buttons."""

import json
from datetime import UTC, datetime
from uuid import UUID

from dagster import DefaultSensorStatus, ResourceParam, SensorEvaluationContext, SensorResult, SkipReason, sensor

from tenant_pipelines.operations.lost import continue_lost_workers
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.pushing import said_of
from tenant_pipelines.operations.reconcile import Push, scan

BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@sensor(
    name="workflow_guard",
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="Continues lost workers, starts rollbacks that are due, ends waits whose time is over.",
)
def workflow_guard(context: SensorEvaluationContext, desk: ResourceParam[Desk]) -> SensorResult:
    """The lost workers that nobody has seen to, then one page; the cursor is where the page ended.

    What cannot be pushed on is told in the tick, and does not keep the next tick from the next page.
    """
    errors = _continue_lost(desk)
    scanned = scan(desk, after=_read(context.cursor), by="workflow_guard")
    errors += scanned.errors
    for error in errors:
        context.log.error(said_of(error))
    done = [push for push in scanned.pushes if push is not Push.NOTHING]
    failed = f"; {len(errors)} could not be: {said_of(errors[0])}" if errors else ""
    running = len(scanned.pushes) + len(scanned.errors)
    return SensorResult(
        skip_reason=SkipReason(f"{running} running, {len(done)} pushed on: {', '.join(done) or '-'}{failed}"),
        cursor=_write(scanned.cursor),
    )


def _continue_lost(desk: Desk) -> list[Exception]:
    try:
        continue_lost_workers(desk, by="workflow_guard")
    except ExceptionGroup as group:
        return list(group.exceptions)
    return []


def _read(cursor: str | None) -> tuple[datetime, UUID]:
    if not cursor:
        return BEGINNING
    at, execution = json.loads(cursor)
    return datetime.fromisoformat(at), UUID(execution)


def _write(cursor: tuple[datetime, UUID] | None) -> str:
    return json.dumps([cursor[0].isoformat(), str(cursor[1])]) if cursor else ""
