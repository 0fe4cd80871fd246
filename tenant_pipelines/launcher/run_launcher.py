"""Dagster's side of the pool: a run launcher that does nothing but write a row, which a warm worker takes.

Named in dagster.yaml. It is loaded by whoever launches, looks at or terminates runs (webserver, daemon, command line,
workers), imports no definitions and starts no process. See docs/adr/0009-warm-workers-take-runs-from-a-table.md.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from uuid import UUID

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, Field, StringSource
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from tenant_pipelines import settings
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches, LaunchState, Row, Wished, refuse_when_full
from tenant_pipelines.ledger.operator_ledger import OperatorLedger

PATIENCE = 10.0
"""Seconds for which a launch waits for the ledger's database; Dagster fails the run when it is not there by then."""
WAITS = "Waits for a worker of the pool (tenant-pipelines workers)."

_HEALTH = {
    LaunchState.QUEUED: WorkerStatus.RUNNING,
    LaunchState.TAKEN: WorkerStatus.RUNNING,
    LaunchState.LOST: WorkerStatus.RUNNING,
    LaunchState.ENDED: WorkerStatus.SUCCESS,
}
"""What run monitoring is told. A lost one counts as running: the waker sees to it, Dagster must not."""


class WarmRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Hands runs to the pool (`tenant-pipelines workers`).

    Args:
        database_url: of the ledger, as the role control_plane.
    """

    def __init__(self, database_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._url = database_url
        self._inst_data = inst_data
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """As in dagster.yaml, with the name of the variable in the place of the URL."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """What dagster.yaml gives."""
        return {
            "database_url": Field(StringSource, description="The ledger's database; {env: ...}, never a literal."),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WarmRunLauncher":
        """As Dagster makes it.

        Raises: ValueError for a URL that is written out: it would show in the arguments of Dagster's processes.
        """
        if inst_data is not None and isinstance(inst_data.config_dict["database_url"], str):
            raise ValueError(
                "database_url of WarmRunLauncher is written out in dagster.yaml, where everybody on the machine can "
                "read it. Way out: database_url: {env: TENANT_PIPELINES_DATABASE_URL}"
            )
        return cls(inst_data=inst_data, **config_value)

    # Launching

    def launch_run(self, context: LaunchRunContext) -> None:
        """Write the row; again for the same run: nothing more.

        Raises: Refused UNAVAILABLE when the ledger is away, or its queue is full (setting `worker_queue_limit`) and
            nobody has recorded this run; InvalidSettings.
        """
        run = context.dagster_run
        run_id = UUID(run.run_id)
        self._refuse_when_full(run_id)
        # Before the row: a worker may have begun before this function has returned. Not STARTING, as Dagster has it by
        # now: that cannot be terminated, and run monitoring expects it to have begun after some minutes.
        waits = DagsterEvent(DagsterEventType.RUN_ENQUEUED.value, run.job_name, message=WAITS)
        self._instance.report_dagster_event(waits, run.run_id)
        self._launches.add(run_id, run.job_name)

    def launch_of(self, run_id: UUID) -> Row | None:
        """The row of a run; None when it was never handed over."""
        return self._launches.of(run_id)

    def _refuse_when_full(self, run_id: UUID) -> None:
        """What the ledger has recorded is always taken: it was let in already, or is needed to end what was."""
        if self._ledger.execution_of_run(run_id) is None:
            limit = settings.queue_limit()
            refuse_when_full(self._launches.queued(limit), limit)

    # Ending

    def terminate(self, run_id: str) -> bool:
        """Have the run end: at once where it waits in the queue, else as soon as its worker hears of it.

        False when there is nothing (any more) to be ended.
        """
        run = self._instance.get_run_by_id(run_id)
        row = self._launches.of(UUID(run_id))
        if run is None or run.is_finished or row is None or row.state is LaunchState.ENDED:
            return False
        # First, so that the worker's own CANCELED comes after it: the other way round the run would stay CANCELING.
        self._instance.report_run_canceling(run)
        if self._launches.wish_interrupt(row.run_id) is not Wished.ASKED and row.state is not LaunchState.LOST:
            # It was removed, or has just ended by itself: the last word must not be that it is being cancelled.
            self._instance.report_run_canceled(run, "Terminated before a worker had begun with it.")
        return True

    # Run monitoring

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: so that run monitoring asks us, and fails nothing behind our back."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """RUNNING as long as the run's execution is open: the ledger decides what becomes of it, and by whom."""
        run_id = UUID(run.run_id)
        execution = self._ledger.execution_of_run(run_id)
        if execution is not None and not execution.state.closed:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"{execution.workflow_id} is running")
        row = self._launches.of(run_id)
        if row is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "no worker was ever asked to carry it out")
        return CheckRunHealthResult(_HEALTH[row.state], _said(row))

    def get_run_worker_debug_info(
        self,
        run: DagsterRun,
        include_container_logs: bool | None = True,  # noqa: ARG002 - Dagster's signature
    ) -> str | None:
        """Which process has it."""
        row = self._launches.of(UUID(run.run_id))
        return None if row is None else _said(row)

    def dispose(self) -> None:
        """Close what was opened."""
        if "_database" in self.__dict__:
            self._database.close()

    @cached_property
    def _database(self) -> Database:
        """Opened when it is needed: most processes that load an instance never launch anything."""
        return Database(self._url, patience=PATIENCE, size=2)

    @cached_property
    def _launches(self) -> Launches:
        return Launches(self._database)

    @cached_property
    def _ledger(self) -> OperatorLedger:
        return OperatorLedger(self._database)


def _said(row: Row) -> str:
    holder = f" by worker {row.worker_pid} of pool {row.pool} under lease {row.lease}" if row.lease else ""
    ended = f" ({row.outcome})" if row.outcome else ""
    return f"{row.state.value}{holder}{ended}"
