"""Our real jobs on a real Dagster instance that launches into the pool's queue; the test is the pool."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun

from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.ledger.launches import Launches, Lease, Row
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs import making
from tenant_pipelines.saga.engine import Engine
from tenant_pipelines.settings import Settings
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.runs.stage import Stage, instance_in_memory

WARM = {
    "module": "tenant_pipelines.launcher.run_launcher",
    "class": "WarmRunLauncher",
    "config": {"database_url": {"env": "TENANT_PIPELINES_DATABASE_URL"}},
}
IMMEDIATE = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
POOL = uuid4()
_numbers = itertools.count(1)


@contextmanager
def warm_instance() -> Iterator[DagsterInstance]:
    """A persistent instance on SQLite with our launcher, as dagster_home/dagster.yaml has it."""
    with instance_in_memory({"run_launcher": WARM, "run_coordinator": IMMEDIATE}) as instance:
        yield instance


class WarmStage(Stage):
    """The stage, and what the processes of a pool would do."""

    def __init__(self, instance: DagsterInstance, given: Settings, systems: Systems) -> None:
        super().__init__(instance, given, systems)
        self.launches = Launches(self.database)

    def tenant(self, key: str | None = None, *, plan: str = "enterprise") -> Tenant:
        return super().tenant(key or f"tenant{next(_numbers)}", plan=plan)

    def by_hand(self, tenant: Tenant | None = None) -> DagsterRun:
        """A run as the launch button of the UI makes it: the ledger does not know it, and it is not handed over yet."""
        return self.instance.create_run_for_job(
            self.job("provision_tenant"),
            run_config={"tenant_id": str((tenant or self.tenant()).id)},
            remote_job_origin=making._remote_origin("provision_tenant"),
            job_code_origin=making._code_origin("provision_tenant"),
        )

    def row(self, run_id: UUID | str) -> Row:
        found = self.launches.of(UUID(str(run_id)))
        assert found is not None
        return found

    def take(self, pid: int = 4711) -> Lease:
        """What a worker does first."""
        lease = self.launches.take(pool=POOL, pid=pid, started=1.0)
        assert lease is not None
        return lease

    def work(self) -> DagsterRun:
        """What a worker does with one run, from taking to ending it."""
        lease = self.take()
        run = self.carry_out(lease.run_id)
        assert self.launches.end(lease, run.status.value)
        return run

    def work_all(self) -> list[DagsterRun]:
        """Until nothing waits any more."""
        done: list[DagsterRun] = []
        while self.launches.queued():
            done.append(self.work())
        return done

    def begin(self, lease: Lease) -> DagsterRun:
        """The run's first event; its worker has done nothing more."""
        run = self.run(lease.run_id)
        self.instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, run.job_name), run.run_id)
        return self.run(lease.run_id)

    def lose(self, *, after: str | None = None, begun: bool = True) -> Lease:
        """A worker takes the oldest run, is killed after that step (none: before the first), and is given up.

        Args: begun: whether Dagster has heard of its begin.
        """
        lease = self.take()
        if begun:
            run = self.begin(lease)
            self._take_steps(lease, UUID(str(run.run_config["tenant_id"])), after)
        assert self.launches.give_up(lease)
        return lease

    def _take_steps(self, lease: Lease, tenant_id: UUID, last: str | None) -> None:
        ledger = RunLedger(self.database, PROVISIONING, lease.run_id, tenant_id, TESTER, self.journal, sweep_after=0.1)
        engine = Engine(ledger, self.world, self.given.retries(), undo_retry_every=1, undo_retry_for=1)
        for step in PROVISIONING.steps[: PROVISIONING.step(last).number if last else 0]:
            engine.forward(step, lambda _: None)
