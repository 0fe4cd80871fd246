"""A whole company on the fakes: desk, engine and systems over a real ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.parking import Looks
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.runs import Launch
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.engine import Engine
from tenant_pipelines.saga.work import World
from tests.fakes.runs import InlineRuns

TESTER = Claimant("tester", "cli")
QUICK = dict.fromkeys(Group, Retries(2, 0.01, 0.02, 2.0, 0.5))


@dataclass
class Noted:
    """A journal that remembers."""

    lines: list[tuple[Marker, str, str | None]]

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        self.lines.append((marker, text, step))


class Company:
    """Everything a test about workflows needs. `database`: its URL, or one that outlives this company."""

    def __init__(
        self,
        database: str | Database,
        world: World,
        *,
        retries: Mapping[Group, Retries] = QUICK,
        sweep_after: float = 0.2,
        undo_retry_every: float = 0.05,
        undo_retry_for: float = 30.0,
        wait_in_worker: float = 15.0,
        journal: Noted | None = None,
    ) -> None:
        self.database = Database(database, patience=5) if isinstance(database, str) else database
        self.journal = journal or Noted([])
        self.world = world
        self.retries = retries
        self.sweep_after = sweep_after
        self.undo_retry_every = undo_retry_every
        self.undo_retry_for = undo_retry_for
        self.wait_in_worker = wait_in_worker
        self.runs = InlineRuns(self.engine)
        self.desk = Desk(OperatorLedger(self.database), self.runs, PROVISIONING, self.journal, SystemClock())
        self.runs.desk = self.desk

    @property
    def catalogue(self) -> Catalogue:
        """The steps; a test may put another list in the place of the product's."""
        return self.desk.provisioning

    @catalogue.setter
    def catalogue(self, catalogue: Catalogue) -> None:
        self.desk = self.runs.desk = replace(self.desk, provisioning=catalogue)

    def engine(self, launch: Launch) -> Engine:
        return self.engine_of(launch.run_id, launch.execution.tenant_id)

    def engine_of(self, run_id: UUID, tenant_id: UUID) -> Engine:
        ledger = RunLedger(
            self.database,
            self.desk.provisioning,
            run_id,
            tenant_id,
            Claimant("dagster-ui", "dagster-ui"),
            self.journal,
            self.sweep_after,
        )
        return Engine(
            ledger,
            self.world,
            self.retries,
            undo_retry_every=self.undo_retry_every,
            undo_retry_for=self.undo_retry_for,
            wait_in_worker=self.wait_in_worker,
        )

    def create(self, key: str, *, plan: str = "enterprise") -> Tenant:
        wanted = new_tenant(
            key=key, name=key.title(), admin_email=f"admin@{key}.example", plan_id=plan, plans=TIER_OF_PLAN
        )
        return tenants.create(self.desk, wanted, TESTER)

    def provision(self, key: str, *, plan: str = "enterprise") -> Execution:
        tenant = self.create(key, plan=plan)
        return self.execution(start(self.desk, tenant.id, TESTER))

    def execution(self, execution: Execution) -> Execution:
        found = self.desk.ledger.execution_of_run(execution.id)
        assert found is not None
        return found

    def settle(self, execution: Execution, *, seconds: float = 20.0) -> Execution:
        """Push the execution on, as waker and guard do, until it is closed or waits for a signal."""
        until = self.desk.clock.monotonic() + seconds
        while not (now := self.execution(execution)).state.closed and now.waiting_until is None:
            assert self.desk.clock.monotonic() < until, now
            if now.parked:
                self.wake()
            if reconcile(self.desk, now, by="guard") is Push.NOTHING:
                self.in_between(now)
                self.desk.clock.sleep(0.01)
        return now

    def wake(self) -> None:
        """What the waker does: see to everything that is parked and due, and to the end of every look."""
        with Looks(self.desk, self.world, by="waker") as looks:
            looks.pass_over()
            looks.rest()
            looks.pass_over()  # raises what the looks have met

    def in_between(self, execution: Execution) -> None:
        """Called again and again while an execution rests, as between two passes of its rollback."""

    def tenant(self, key: str) -> Tenant:
        return tenants.show(self.desk, key)

    def close(self) -> None:
        self.database.close()
