"""Dagster runs that have ended, and how they are deleted with all that Dagster keeps of them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from tenant_pipelines.operations.retention import EndedRun

ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


class OldDagsterRuns:
    """Fulfils `operations.retention.OldRuns`."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    def ended(self, *, before: datetime, after: UUID | None, limit: int) -> Sequence[EndedRun]:
        """Runs that ended before then, oldest first; `after` is the last one of the page before, and still there."""
        records = self._instance.get_run_records(
            RunsFilter(statuses=list(ENDED), updated_before=before),
            limit=limit,
            ascending=True,
            cursor=str(after) if after else None,
        )
        return [_ended(record) for record in records]

    def delete(self, run_id: UUID) -> None:
        """Delete the run with its captured output and its events; again: nothing more.

        The run itself goes last: whoever dies on the way finds it again, and no event is left without a run.
        """
        self._instance.compute_log_manager.delete_logs(prefix=[str(run_id)])
        self._instance.event_log_storage.delete_events(str(run_id))
        self._instance.delete_run(str(run_id))


def _ended(record: RunRecord) -> EndedRun:
    run = record.dagster_run
    at = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
    return EndedRun(UUID(run.run_id), _uuid(run.tags.get("workflow_run_id")), at)


def _uuid(tag: str | None) -> UUID | None:
    """A tag may hold anything: it can be given in Dagster's launchpad."""
    try:
        return UUID(tag) if tag else None
    except ValueError:
        return None
