"""Retention by itself, once a day: a job with one op, and the schedule that launches it."""

from dataclasses import replace

from dagster import (
    DefaultScheduleStatus,
    Failure,
    JobDefinition,
    OpExecutionContext,
    ScheduleDefinition,
    in_process_executor,
    job,
    op,
)

from tenant_pipelines import settings
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.retirement import Retirement
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.sweep import sweep
from tenant_pipelines.runs.old_runs import OldDagsterRuns

DESK = "desk"
BY_ITSELF = Claimant("schedule retention_daily", "schedule")


@op(
    required_resource_keys={DESK},
    description="One pass; what is left over, and what could not be done, waits for the next.",
)
def purge(context: OpExecutionContext) -> None:
    """Raises Failure, naming what could not be done; all the rest has been."""
    given = settings.load()
    desk: Desk = getattr(context.resources, DESK)
    ledger = Retirement(desk.ledger.database, by=replace(BY_ITSELF, request_id=context.run_id))
    report = sweep(ledger, OldDagsterRuns(context.instance), given.ages(), given.bounds(), desk.clock, dry=False)
    counts = {kind.value: count for kind, count in report.counts.items() if count}
    context.add_output_metadata({**counts, "finished": report.finished, "seconds": report.seconds})
    if report.errors:
        raise Failure(f"Not everything could be done: {'; '.join(report.errors)}", allow_retries=False)


@job(executor_def=in_process_executor, description="Archives, redacts and removes what is old enough.")
def retention() -> None:
    """One op, on one worker, for as long as a pass may take."""
    purge()


def retention_job() -> JobDefinition:
    """The job."""
    return retention


retention_daily = ScheduleDefinition(
    name="retention_daily",
    job=retention,
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Once a day, when few are at work.",
)
