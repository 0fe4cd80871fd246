"""The company on the real parts, put together as the product does it: breaks things, provisions, and looks."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from resources.world import world_of
from tenant_pipelines import logs
from tenant_pipelines.domain.journal import Journal, Marker
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution, Kind, StepState
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.resuming import resume
from tenant_pipelines.operations.runs import Launch
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga import work
from tenant_pipelines.saga.engine import Engine
from tenant_pipelines.settings import Settings
from tests.fakes.company import TESTER, Company, Noted
from tests.world.records import BrokenRecords
from tests.world.steps import Happening, do_with, nothing, once, put, undo_with
from tests.world.systems import Systems, Thing

PATIENT = {"attempts": 2, "first_wait": 0.05, "longest_wait": 0.1, "one_attempt": 20, "all_attempts": 60}
"""Retries of whatever is not to fail: no busy machine makes it."""

AT_ONCE = Retries(attempts=1, first_wait=600, longest_wait=600, one_attempt=20, all_attempts=60)
"""Retries of the step that is to fail: its first failure is its last."""
SILENT = frozenset({"timeout_before", "timeout_after", "late_effect"})
"""Faults that are known by nothing but the time that passes: they alone are waited for no longer than SOON."""
SOON = 1.5

SETTINGS: Mapping[str, str] = {
    **{f"TENANT_PIPELINES_RETRY_{g.upper()}_{n.upper()}": str(v) for g in Group for n, v in PATIENT.items()},
    "TENANT_PIPELINES_TERRAFORM_LOOK_AGAIN_AFTER": "0.1",
    "TENANT_PIPELINES_SWEEP_AFTER": "0.1",
    "TENANT_PIPELINES_UNDO_RETRY_EVERY": "0.2",
    "TENANT_PIPELINES_UNDO_RETRY_FOR": "60",
}
"""Beside the generated ones of the stack. `sweep_after` is short, since only late effects come late."""

LATE = 15.0
"""Seconds for which a call may still take effect, where one does: cut short when it has been seen to."""

TOO_LATE = 2.5
"""The same where it takes none any more: the stand-ins land it a second after a look."""


@dataclass(frozen=True)
class Composed:
    """What all tests of a process share: settings, database and adapters."""

    given: Settings
    database: Database
    world: work.World
    others: list[work.World] = field(default_factory=list[work.World])

    def another(self, given: Settings) -> work.World:
        """One with other settings."""
        self.others.append(compose(given, self.database))
        return self.others[-1]


def compose(given: Settings, database: Database) -> work.World:
    """The outside systems as the product puts them together; each adapter reads its settings when it is first used."""
    with warnings.catch_warnings(action="ignore"):  # Dagster's own, about pydantic
        from resources.systems import outside_systems  # noqa: PLC0415 - loads Dagster

        systems = outside_systems()
    return world_of(given, database, systems)


@dataclass
class Told(Noted):
    """A journal that remembers, and writes what the product's own one would."""

    also: Journal

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        super().note(marker, text, tenant_id=tenant_id, workflow_id=workflow_id, run_id=run_id, step=step)
        self.also.note(marker, text, tenant_id=tenant_id, workflow_id=workflow_id, run_id=run_id, step=step)


class World(Company):
    """One tenant's world. `key` is its own; every fault hits only its calls."""

    def __init__(self, systems: Systems, composed: Composed) -> None:
        given = composed.given
        super().__init__(
            composed.database,
            composed.world,
            retries=given.retries(),
            sweep_after=given.sweep_after,
            undo_retry_every=given.undo_retry_every,
            undo_retry_for=given.undo_retry_for,
            journal=Told([], logs.journal(given.log_format, given.log_file)),
        )
        self.composed = composed
        self.systems = systems
        self.given = given
        self.key = f"t{uuid4().hex[:12]}"
        self.mended_for_rollback: work.World | None = None
        self.plan = "enterprise"
        self.broken: str | None = None
        self.waited_for = AT_ONCE.one_attempt
        self.came_late: set[Thing] = set()
        self._watched: tuple[str, ...] = ()

    def engine(self, launch: Launch) -> Engine:
        """The failing step fails at once on its way forward, and is patiently undone."""
        engine = super().engine(launch)
        retries = dict(engine.retries)
        if launch.kind is Kind.ROLLBACK:
            if self.broken is not None:
                retries[Group.BACKUP] = self.given.retries()[Group.DATABASE]
            return replace(engine, retries=retries, world=self.mended_for_rollback or engine.world)
        return replace(engine, retries=retries | {Group.BACKUP: replace(AT_ONCE, one_attempt=self.waited_for)})

    def deploy_to(self, target: str) -> None:
        """Where the application goes: kubernetes or docker."""
        self.world = replace(self.world, rules=replace(self.world.rules, deployment_target=target))

    def fail_at_once(self, name: str) -> None:
        """Let the first failure of that step be its last. No step of provisioning uses the group for backups."""
        self.broken = name
        self.catalogue = put(self.catalogue, replace(self.catalogue.step(name), retries=Group.BACKUP))

    def break_(self, name: str, system: str, operation: str, mode: str) -> None:
        """Let the step fail: the first call of that operation in it goes wrong, and it is not tried again."""
        self.fail_at_once(name)
        self.when(name, before=once(lambda: self.systems.break_(system, operation, mode, times=1, tenant=self.key)))
        self._expect(mode, system)

    def break_records(self, mode: str) -> BrokenRecords:
        """The same for step 9, which works in the engine's own database."""
        self.fail_at_once("creating_resources")
        records = BrokenRecords(self.world.records, mode)
        self.world = replace(self.world, records=records)
        self._expect(mode, "postgres")
        return records

    def _expect(self, mode: str, system: str) -> None:
        if mode in SILENT:
            self.waited_for = SOON
        if mode == "late_effect":
            self.expect_late(system)

    def expect_late(self, system: str) -> None:
        """Wait as long as late effects take, and watch that system while the rollback rests."""
        self.sweep_after = LATE
        self._watched = (system,)

    def when(self, name: str, *, before: Happening | None = None, after: Happening | None = None) -> None:
        """Let something happen before each try of a step, or after its effect and before its record."""
        given = {side: happening for side, happening in (("before", before), ("after", after)) if happening}
        self.catalogue = put(self.catalogue, do_with(self.catalogue.step(name), **given))

    @property
    def sweep_is_over(self) -> bool:
        """Whether nothing that the newest execution has lost can come late any more."""
        with self.systems.sql() as admin:
            query = "select sweep_until < now() from engine.executions where id = %s"
            row = admin.execute(query, [self.newest.id]).fetchone()
        return row is not None and row[0] is True

    def before_undo(self, name: str, happening: Happening) -> None:
        """Let something happen before each try of a step's undo."""
        self.catalogue = put(self.catalogue, undo_with(self.catalogue.step(name), before=happening))

    def in_between(self, execution: Execution) -> None:
        """Between two passes of a rollback: what is seen now has come after the first one had looked."""
        if self._watched and execution.next_undo_at is not None:
            self.came_late |= self.systems.things_of(self.key, *self._watched)
            if self.came_late:  # nothing else will: what is left of the time need not be waited for
                self._watched = ()
                with self.systems.sql() as admin:
                    over = "update engine.executions set sweep_until = now(), next_undo_at = now() where id = %s"
                    admin.execute(over, [execution.id])

    def run(self) -> Execution:
        """Provision the tenant, to whatever end."""
        return self.start(self.create(self.key, plan=self.plan).id)

    def start(self, tenant_id: UUID) -> Execution:
        """Provision a tenant that there is, to whatever end."""
        return self.settle(self.execution(start(self.desk, tenant_id, TESTER)), seconds=60)

    def state_of(self, name: str) -> StepState:
        """How the do side of a step of the newest execution stands."""
        with self.systems.sql() as admin:
            row = admin.execute(
                "select state from engine.steps where execution_id = %s and side = 'do' and step = %s",
                [self.newest.id, name],
            ).fetchone()
        assert row is not None
        return StepState(row[0])

    def resume(self) -> Execution:
        """Go on past the point of no return, as the verb `restart` will: under a new run id, with a quiet system."""
        return self.resume_with(nothing)

    def resume_with(self, happening: Happening) -> Execution:
        """The same, and something happens before the first step is taken again."""
        self.systems.mend()
        self.catalogue = PROVISIONING
        happening()
        workflow_id = f"provision-tenant-{self.the_tenant.id}"
        execution = resume(self.database, workflow_id, catalogue=self.catalogue, claimant=TESTER)
        first = self.desk.ledger.first_open_step(execution.id, self.catalogue)
        self.runs.launch(Launch(execution.run_id, execution, Kind.CONTINUATION, first))
        return self.settle(execution, seconds=60)

    def confirm(self, *, success: bool = True, error: str | None = None) -> Execution:
        """The app plane confirms, and the workflow is completed; or it reports a failure."""
        tenant_id = self.the_tenant.id
        payload = {"success": success} | ({"error": error} if error else {})
        signal(self.desk, tenant_id, "appPlaneProvisioned", payload, key=uuid4().hex, claimant=TESTER)
        return self.newest

    @property
    def newest(self) -> Execution:
        """The tenant's newest execution."""
        return self.desk.ledger.execution(f"provision-tenant-{self.the_tenant.id}")

    @property
    def the_tenant(self) -> Tenant:
        """Its row."""
        return self.tenant(self.key)

    @property
    def things(self) -> set[Thing]:
        """All there is of it anywhere."""
        return self.systems.things_of(self.key)

    @property
    def refused(self) -> list[str]:
        """What runs were told that might not act."""
        return [refused.message for refused in self.runs.refused]
