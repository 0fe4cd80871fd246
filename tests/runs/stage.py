"""Our real jobs on a real Dagster instance, over a real ledger and the fake systems."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    JobDefinition,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_run_iterator
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._serdes import serialize_value

from resources.saga import Saga
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.ports import DatabaseAccess, ObjectStore, SchemaStore, StorageAccess
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.provisioning.jobs import SAGA, provision_job, rollback_job
from tenant_pipelines.runs.gateway import DagsterRuns
from tenant_pipelines.saga.engine import Engine
from tenant_pipelines.settings import Settings
from tests.fakes.company import TESTER, Noted
from tests.fakes.systems import Systems, world

SCHEMA_PASSWORD = "fake-secret-of-the-schema"
BUCKET_KEY = "fake-secret-of-the-bucket"


@contextmanager
def queueing_instance() -> Iterator[DagsterInstance]:
    """A persistent instance on SQLite that queues runs as ours does; nobody takes them from the queue."""
    coordinator = {"module": "dagster", "class": "QueuedRunCoordinator"}
    with instance_in_memory({"run_coordinator": coordinator}) as instance:
        yield instance


@contextmanager
def instance_in_memory(overrides: Mapping[str, Any]) -> Iterator[DagsterInstance]:
    """A persistent instance on SQLite, in memory where the system has a place for that: SQLite syncs at every event.

    Args: overrides: as in dagster.yaml.
    """
    place = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="tenant-pipelines-dagster-", dir=place if place.is_dir() else None) as home,
        DagsterInstance.local_temp(home, overrides={"telemetry": {"enabled": False}, **overrides}) as instance,
    ):
        yield instance


class Stage:
    """What a test about our jobs in Dagster needs."""

    def __init__(self, instance: DagsterInstance, given: Settings, systems: Systems) -> None:
        self.instance = instance
        self.database = Database(given.database_url.get_secret_value(), patience=5)
        self.journal = Noted([])
        self.ledger = OperatorLedger(self.database)
        self.runs = DagsterRuns(instance, self.job)
        self.desk = Desk(self.ledger, self.runs, PROVISIONING, self.journal, SystemClock())
        fakes = world(systems, given.rules())
        schemas, store = cast(SchemaStore, fakes.schemas), cast(ObjectStore, fakes.store)
        self.given = given
        self.world = replace(fakes, schemas=_Schemas(schemas), store=_Store(store))
        saga = Saga(given, self.database, self.world, self.desk)
        self.definitions = Definitions(jobs=[provision_job(), rollback_job()], resources={SAGA: saga})

    def job(self, name: str) -> JobDefinition:
        return self.definitions.resolve_job_def(name)

    def tenant(self, key: str = "acme", *, plan: str = "enterprise") -> Tenant:
        email = f"admin@{key}.example"
        wanted = new_tenant(key=key, name=key.title(), admin_email=email, plan_id=plan, plans=TIER_OF_PLAN)
        return tenants.create(self.desk, wanted, TESTER)

    def start(self, tenant: Tenant) -> Execution:
        return start(self.desk, tenant.id, TESTER)

    def cancel(self, execution: Execution) -> None:
        self.ledger.request_cancel(execution.workflow_id, TESTER)

    def execution(self, run: DagsterRun) -> Execution:
        """What the run was recorded for."""
        found = self.ledger.execution_of_run(UUID(run.run_id))
        assert found is not None
        return found

    def launch_by_hand(
        self, tenant_id: UUID | str, *, job: str = "provision_tenant", steps: Sequence[str] | None = None
    ) -> DagsterRun:
        """What the launch button does: a run that the ledger does not know, carried out at once."""
        result = self.job(job).execute_in_process(
            run_config={"tenant_id": str(tenant_id)}, instance=self.instance, op_selection=steps, raise_on_error=False
        )
        return self.run(result.run_id)

    def re_execute(self, run: DagsterRun, *, from_failure: bool = False) -> DagsterRun:
        """What the button of that name does, carried out at once: the tags of the run are taken over."""
        job = self.job(run.job_name)
        keys, known = (
            KnownExecutionState.build_resume_retry_reexecution(self.instance, run) if from_failure else (None, None)
        )
        root = run.root_run_id or run.run_id
        tags = {**run.tags, "dagster/root_run_id": root, "dagster/parent_run_id": run.run_id}
        tags |= {"dagster/is_resume_retry": "true"} if from_failure else {}
        plan = create_execution_plan(
            job, run.run_config, keys, instance_ref=self.instance.get_ref(), known_state=known, tags=tags
        )
        again = self.instance.create_run_for_job(
            job,
            execution_plan=plan,
            run_config=run.run_config,
            tags=tags,
            root_run_id=root,
            parent_run_id=run.run_id,
        )
        return self.carry_out(again.run_id)

    def carry_out(self, run_id: UUID | str) -> DagsterRun:
        """What a worker does with a run that was launched."""
        starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, self.run(run_id).job_name)
        self.instance.report_dagster_event(starting, run_id=str(run_id))
        run = self.run(run_id)
        list(execute_run_iterator(InMemoryJob(self.job(run.job_name)), run, self.instance))
        return self.run(run_id)

    def lose_worker_after(self, step: str, execution: Execution) -> DagsterRun:
        """What is there after a worker was killed right after that step: its run is marked as a launcher would."""
        ledger = RunLedger(
            self.database, PROVISIONING, execution.run_id, execution.tenant_id, TESTER, self.journal, sweep_after=0.1
        )
        engine = Engine(ledger, self.world, self.given.retries(), undo_retry_every=1, undo_retry_for=1)
        for taken in PROVISIONING.steps[: PROVISIONING.step(step).number]:
            engine.forward(taken, lambda _: None)
        self.instance.report_run_failed(self.run(execution.run_id), "The worker has died.")
        return self.run(execution.run_id)

    def carry_out_queue(self) -> list[DagsterRun]:
        """Carry out everything that waits, oldest first."""
        return [self.carry_out(run.run_id) for run in reversed(self.queued())]

    def run(self, run_id: UUID | str) -> DagsterRun:
        run = self.instance.get_run_by_id(str(run_id))
        assert run is not None
        return run

    def queued(self) -> list[DagsterRun]:
        return [run for run in self.instance.get_runs() if run.status is DagsterRunStatus.QUEUED]

    def steps(self, run: DagsterRun, kind: DagsterEventType = DagsterEventType.STEP_SUCCESS) -> list[str]:
        """The steps of the run that had such an event, in order."""
        records = self.instance.all_logs(run.run_id, of_type=kind)
        return [record.step_key for record in records if record.step_key]

    def shown(self, run: DagsterRun) -> Mapping[str, Mapping[str, str]]:
        """The metadata of each step's output: label to text."""
        found: dict[str, Mapping[str, str]] = {}
        for record in self.instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_OUTPUT):
            assert record.dagster_event is not None
            assert record.step_key is not None
            metadata = record.dagster_event.step_output_data.metadata
            found[record.step_key] = {label: str(value.value) for label, value in metadata.items()}
        return found

    def said(self, run: DagsterRun) -> str:
        """Everything that Dagster keeps of the run's log, as it is stored."""
        return "\n".join(serialize_value(record) for record in self.instance.all_logs(run.run_id))

    def close(self) -> None:
        """Leave the instance as it was, for the next stage."""
        for run in self.instance.get_runs():
            self.instance.delete_run(run.run_id)
        self.database.close()


class _Schemas:
    """The fake, with a password that can be looked for."""

    def __init__(self, schemas: SchemaStore) -> None:
        self._schemas = schemas

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN204
        return getattr(self._schemas, name)

    def issue_access(self, *, schema: str, mark: Mark, call: Call) -> DatabaseAccess:
        return replace(self._schemas.issue_access(schema=schema, mark=mark, call=call), password=SCHEMA_PASSWORD)


class _Store:
    """The fake, with a key that can be looked for."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN204
        return getattr(self._store, name)

    def issue_access(self, *, bucket: str, mark: Mark, call: Call) -> StorageAccess:
        return replace(self._store.issue_access(bucket=bucket, mark=mark, call=call), secret_key=BUCKET_KEY)
