"""Runs that ended FAILURE or CANCELED: a wake-up for what the guard would find a little later."""

from uuid import UUID

from dagster import DagsterRunStatus, DefaultSensorStatus, ResourceParam, RunStatusSensorContext, run_status_sensor

from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import reconcile


def _wake(context: RunStatusSensorContext, desk: Desk) -> None:
    run_id = UUID(context.dagster_run.run_id)
    execution = desk.ledger.execution_of_run(run_id)
    if execution is not None and execution.run_id == run_id:
        push = reconcile(desk, execution, by=context.sensor_name)
        context.log.info(f"{execution.workflow_id}: {push}")


@run_status_sensor(
    name="run_failed",
    run_status=DagsterRunStatus.FAILURE,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="A run has failed: start its rollback, or continue it elsewhere.",
)
def run_failed(context: RunStatusSensorContext, desk: ResourceParam[Desk]) -> None:
    """Should it raise, Dagster never shows it this run again: the guard is there for that."""
    _wake(context, desk)


@run_status_sensor(
    name="run_cancelled",
    run_status=DagsterRunStatus.CANCELED,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description="A run was terminated in Dagster: that is a cancel of its workflow.",
)
def run_cancelled(context: RunStatusSensorContext, desk: ResourceParam[Desk]) -> None:
    """As above."""
    _wake(context, desk)
