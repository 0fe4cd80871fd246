"""The ledger as operators and sensors see it: claims from outside of runs, signals, and what there is to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import KEY, Tenant
from tenant_pipelines.domain.workflow import Execution, Kind, Leftover, State
from tenant_pipelines.ledger import confirmation, endings, lost_workers
from tenant_pipelines.ledger.claims import Claimant, act, claim_provision, remember
from tenant_pipelines.ledger.confirmation import Received
from tenant_pipelines.ledger.database import Database, Transaction
from tenant_pipelines.ledger.launches import refuse_when_full
from tenant_pipelines.ledger.rows import execution_of, tenant_of
from tenant_pipelines.ledger.steps import open_steps
from tenant_pipelines.saga.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class NewRow:
    """A tenant's row to be written, with its contact and, where it has a plan, its subscription."""

    key: str
    name: str
    tier: str
    domains: tuple[str, ...]
    first_name: str
    last_name: str
    email: str
    plan_id: str | None


@dataclass(frozen=True, slots=True)
class OperatorLedger:
    """Reads and claims."""

    database: Database

    def ping(self) -> None:
        """Ask the database for nothing.

        Raises: Refused UNAVAILABLE.
        """
        self.database.run(lambda tx: tx.one("ping"))

    def create_tenant(self, new: NewRow, claimant: Claimant) -> Tenant:
        """Write the tenant's row.

        Raises: Refused KEY_TAKEN, DOMAIN_TAKEN.
        """
        tenant_id = uuid4()

        def work(tx: Transaction) -> Tenant:
            written = tx.one("tenant_with_all", tenant_id=tenant_id)
            if written is not None:  # by this very call, whose answer was lost
                return tenant_of(written)
            tx.only("insert_tenant", id=tenant_id, key=new.key, name=new.name, tier=new.tier, domains=list(new.domains))
            tx.do(
                "insert_contact",
                tenant_id=tenant_id,
                first_name=new.first_name,
                last_name=new.last_name,
                email=new.email,
            )
            if new.plan_id is not None:
                tx.do("insert_subscription", tenant_id=tenant_id, plan_id=new.plan_id)
            act(tx, claimant, "create_tenant", tenant_id=tenant_id, changes={"key": new.key, "tier": new.tier})
            return tenant_of(tx.only("tenant_with_all", tenant_id=tenant_id))

        try:
            return self.database.run(work)
        except psycopg.errors.UniqueViolation as error:
            raise _taken(error, new) from error

    def claim_provision(
        self,
        tenant_id: UUID,
        *,
        version: int,
        claimant: Claimant,
        given: Mapping[str, Any],
        run_id: UUID | None = None,
        queue_limit: int | None = None,
    ) -> Execution:
        """Insert an execution under a new run id, or under that of a run that is there: the caller launches it.

        Args: queue_limit: runs that may wait for a worker before a claim is refused; None asks nobody.
        """
        run_id = run_id or uuid4()

        def work(tx: Transaction) -> Execution:
            if queue_limit is not None:
                refuse_when_full(tx.only("count_queued", limit=queue_limit)["n"], queue_limit)
            row = claim_provision(
                tx, tenant_id=tenant_id, run_id=run_id, version=version, claimant=claimant, given=given
            )
            return execution_of(row)

        return self.database.run(work)

    def claim_rollback(self, execution_id: UUID, *, by: str) -> Execution | None:
        """Claim the rollback that is due, for the run id in the answer; None when somebody else has it, or none is."""

        def work(tx: Transaction) -> Execution | None:
            runs = tx.only("count_runs", execution_id=execution_id)["n"]
            run_id = lost_workers.next_run_id(execution_id, runs)
            row = tx.one("claim_rollback", id=execution_id, run_id=run_id, by=by, runs=runs)
            if row is None:
                return None
            tx.do("insert_run", run_id=run_id, execution_id=execution_id, kind=Kind.ROLLBACK.value)
            remember(tx, row, "RollbackStarted", details={"by": by})
            return execution_of(row)

        return self.database.run(work)

    def replace_lost_run(self, execution: Execution, catalogue: Catalogue) -> Execution | None:
        """A run has ended without finishing what it was there for: claim its continuation, under a new run id.

        Answers the execution as this call has left it: going on, or failed (WorkerLost) where its step has lost too
        many workers; None when somebody else has seen to it.
        """

        def work(tx: Transaction) -> Execution | None:
            row = tx.only("lock_execution", id=execution.id)
            if not lost_workers.replace_run(tx, row, execution.run_id, catalogue):
                return None
            return execution_of(tx.only("execution", id=execution.id))

        return self.database.run(work)

    def first_open_step(self, execution_id: UUID, catalogue: Catalogue) -> str:
        """The first step of the forward side that is not behind us."""
        steps = self.database.run(lambda tx: open_steps(tx, execution_id, catalogue))
        return steps[0] if steps else catalogue.last.name

    def request_cancel(self, workflow_id: str, claimant: Claimant) -> Execution:
        """Record the wish; whoever acts for the execution sees it. While it waits for a signal nobody does: it ends.

        A parked one is woken at once.

        Raises: Refused NOT_FOUND, WRONG_STATE.
        """

        def work(tx: Transaction) -> Execution:
            row = tx.only("lock_execution", id=_newest(tx, workflow_id)["id"])
            if row["closed_at"] is not None:
                raise Refused(Code.WRONG_STATE, f"Workflow {workflow_id} is {State(row['state']).word}: not running.")
            _wish_cancelled(tx, row, claimant)
            if row["waiting_until"] is not None:
                endings.cancel_past_pivot(tx, row, [row["step"]])
            elif row["parked_at"] is not None:
                tx.do("announce_wake", execution_id=row["id"])
            return execution_of(tx.only("execution", id=row["id"]))

        return self.database.run(work)

    def stop_cancelled(self, execution: Execution, catalogue: Catalogue, claimant: Claimant) -> Execution | None:
        """The run of a cancelled execution is gone: its forward side ends here.

        Args: claimant: who is named when nobody has recorded the wish.
        Answers the execution as this call has left it; None when there was nothing to stop (any more).
        """

        def work(tx: Transaction) -> Execution | None:
            row = tx.only("lock_execution", id=execution.id)
            if row["state"] != State.FORWARD or row["run_id"] != execution.run_id:
                return None
            _wish_cancelled(tx, row, claimant)
            endings.stop_for_cancel(tx, row, catalogue)
            return execution_of(tx.only("execution", id=execution.id))

        return self.database.run(work)

    def receive_signal(
        self, workflow_id: str, *, name: str, step: str, payload: Mapping[str, Any], key: str, claimant: Claimant
    ) -> tuple[Received, Execution]:
        """Record a signal to the newest execution, once per key, and do what follows from it.

        Raises: Refused NOT_FOUND.
        """

        def work(tx: Transaction) -> tuple[Received, Execution]:
            row = tx.only("lock_execution", id=_newest(tx, workflow_id)["id"])
            fresh = tx.one(
                "insert_signal",
                execution_id=row["id"],
                name=name,
                dedupe_key=key,
                payload=dict(payload),
                by=claimant.by,
            )
            if fresh is None:
                return Received.NO_EFFECT, execution_of(row)
            remember(tx, row, "WorkflowExecutionSignaled", details={"signal": name, "by": claimant.by})
            received = confirmation.receive(tx, row, step, payload)
            act(tx, claimant, f"signal {name}", execution=row, changes={"effect": received.value})
            return received, execution_of(tx.only("execution", id=row["id"]))

        return self.database.run(work)

    def expire_confirmation(self, execution: Execution, step: str) -> Execution | None:
        """The time for the confirmation is over: complete without it. None when it was not (any more) waited for."""

        def work(tx: Transaction) -> Execution | None:
            row = tx.only("lock_execution", id=execution.id)
            if row["closed_at"] is not None or row["waiting_until"] is None:
                return None
            confirmation.expire(tx, row, step)
            return execution_of(tx.only("execution", id=execution.id))

        return self.database.run(work)

    def execution(self, workflow_id: str) -> Execution:
        """The newest execution of the workflow.

        Raises: Refused NOT_FOUND.
        """
        return execution_of(self.database.run(lambda tx: _newest(tx, workflow_id)))

    def execution_of_run(self, run_id: UUID) -> Execution | None:
        """The execution that a Dagster run was recorded for, or None."""
        row = self.database.run(lambda tx: tx.one("execution_of_run", run_id=run_id))
        return execution_of(row) if row else None

    def unattended(self, *, quiet: float, after: tuple[datetime, UUID], limit: int) -> list[Execution]:
        """Running executions whose row has not changed for `quiet` seconds, oldest first, after the cursor."""
        rows = self.database.run(
            lambda tx: tx.all("unattended_executions", quiet=quiet, after_at=after[0], after_id=after[1], limit=limit)
        )
        return [execution_of(row) for row in rows]

    def tenant(self, tenant_id: UUID) -> Tenant:
        """The tenant.

        Raises: Refused NOT_FOUND.
        """
        row = self.database.run(lambda tx: tx.one("tenant_with_all", tenant_id=tenant_id))
        if row is None:
            raise Refused(
                Code.NOT_FOUND, f"There is no tenant {tenant_id}. List them with: tenant-pipelines tenant list"
            )
        return tenant_of(row)

    def tenant_id_of_key(self, key: str) -> UUID:
        """The living tenant with that key, else the last one that had it.

        Raises: Refused NOT_FOUND.
        """
        possible = KEY.fullmatch(key) is not None
        row = self.database.run(lambda tx: tx.one("tenant_id_by_key", key=key)) if possible else None
        if row is None:
            raise Refused(
                Code.NOT_FOUND, f"There is no tenant {key[:60]!r}. List them with: tenant-pipelines tenant list"
            )
        return UUID(str(row["id"]))

    def tenants(self, *, status: int | None = None, limit: int = 50, offset: int = 0) -> list[Tenant]:
        """Tenants, newest first."""
        rows = self.database.run(lambda tx: tx.all("list_tenants", status=status, limit=limit, offset=offset))
        return [tenant_of(row) for row in rows]

    def executions(
        self,
        *,
        tenant_id: UUID | None = None,
        states: tuple[State, ...] | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Execution]:
        """Executions, newest first."""
        wanted = [state.value for state in states] if states else None
        rows = self.database.run(
            lambda tx: tx.all("list_executions", tenant_id=tenant_id, states=wanted, limit=limit, offset=offset)
        )
        return [execution_of(row) for row in rows]

    def left_behind(self, tenant_id: UUID) -> list[Leftover]:
        """What is listed as left behind for the tenant."""
        return self.database.run(lambda tx: endings.left_behind(tx, tenant_id))

    def owed(self, tenant_id: UUID) -> list[str]:
        """The steps the tenant is owed."""
        return [row["step"] for row in self.database.run(lambda tx: tx.all("owed_of_tenant", tenant_id=tenant_id))]

    def history(self, execution_id: UUID, *, limit: int = 1000, offset: int = 0) -> list[DictRow]:
        """The execution's events in their order."""
        return self.database.run(lambda tx: tx.all("history_of", execution_id=execution_id, limit=limit, offset=offset))


def _newest(tx: Transaction, workflow_id: str) -> DictRow:
    row = tx.one("newest_execution", workflow_id=workflow_id.replace("\0", ""))  # which no text in PostgreSQL holds
    if row is None:
        raise Refused(Code.NOT_FOUND, f"There is no workflow {workflow_id[:120]!r}.")
    return row


def _wish_cancelled(tx: Transaction, execution: DictRow, claimant: Claimant) -> None:
    wished = tx.one("request_cancel", id=execution["id"], by=claimant.by, reason=claimant.reason)
    if wished is None:
        return
    remember(tx, execution, "WorkflowExecutionCancelRequested", details={"by": claimant.by})
    act(tx, claimant, "cancel", execution=execution)


def _taken(error: psycopg.errors.UniqueViolation, new: NewRow) -> Refused:
    if error.diag.constraint_name == "tenants_key":
        return Refused(Code.KEY_TAKEN, f"The key {new.key!r} is taken by another tenant.")
    return Refused(Code.DOMAIN_TAKEN, f"A domain of {', '.join(new.domains)} belongs to another tenant.")
