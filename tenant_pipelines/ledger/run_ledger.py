"""The ledger as one Dagster run of one execution sees it: the engine's protocol on PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.failures import Failure, LockHeld, Outage
from tenant_pipelines.domain.journal import Journal, Marker, note_about, note_end
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Tenant, Tier
from tenant_pipelines.domain.workflow import Execution, Leftover, Side, State, StepState
from tenant_pipelines.ledger import endings, undoing
from tenant_pipelines.ledger.claims import Claimant, claim_provision
from tenant_pipelines.ledger.confirmation import await_confirmation
from tenant_pipelines.ledger.database import Answer, Database, Transaction
from tenant_pipelines.ledger.rows import execution_of, refs_of, tenant_of
from tenant_pipelines.ledger.steps import BEHIND, Entry
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.ledger import Begun, CancelRequested, Settled, UndoReport, Verdict
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step

Names = Callable[[Tenant], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class RunLedger:
    """One run's view.

    Args:
        tenant_id: what the run was launched for.
        claimant: who is to be named if the run itself claims the execution (a launch in Dagster's UI).
        sweep_after: seconds for which a lost call may still take effect.
    """

    database: Database
    catalogue: Catalogue
    run_id: UUID
    tenant_id: UUID
    claimant: Claimant
    journal: Journal
    sweep_after: float

    def begin(self, step: Step, side: Side, names: Names) -> Begun | Settled:
        """Claim or join, check, and make the intent durable."""
        claimed, answer = self.database.run(lambda tx: self._begin(tx, step, side, names))
        if claimed:
            text = f"Provisioning of tenant {claimed.tenant_key} by {self.claimant.by}"
            note_about(self.journal, claimed, Marker.START, text)
        if isinstance(answer, Begun):
            marker = Marker.STEP if side is Side.DO else Marker.ROLLBACK
            run = answer.execution
            self.journal.note(
                marker,
                f"{step.activity if side is Side.DO else step.undo_activity} attempt {answer.attempt}",
                tenant_id=run.tenant_id,
                workflow_id=run.workflow_id,
                run_id=run.id,
                step=step.name,
            )
        return answer

    def _begin(self, tx: Transaction, step: Step, side: Side, names: Names) -> tuple[Execution | None, Begun | Settled]:
        claimed = None
        execution = tx.one("lock_execution_of_run", run_id=self.run_id)
        if execution is None:
            execution = self._claim(tx, step, side)
            claimed = execution_of(execution)
        self._check(execution, side)
        _check_not_cancelled(execution, side)
        entry = Entry(tx, execution, step, side, self.run_id)
        row = entry.row()
        if row is not None and StepState(row["state"]) in BEHIND:
            return claimed, Settled(StepState(row["state"]), refs_of(row["found"]))
        if not _applies(entry):
            entry.skip()
            return claimed, Settled(StepState.SKIPPED, ())
        return claimed, _start(entry, names)

    def _claim(self, tx: Transaction, step: Step, side: Side) -> DictRow:
        if side is Side.UNDO or step.number != 1:
            raise Refused(
                Code.WRONG_STATE,
                f"Run {self.run_id} does not belong to a running workflow of tenant {self.tenant_id}, and a workflow "
                "begins with its first step. Launch the whole job, or: "
                f"tenant-pipelines tenant provision {self.tenant_id}",
            )
        return claim_provision(
            tx,
            tenant_id=self.tenant_id,
            run_id=self.run_id,
            version=self.catalogue.version,
            claimant=self.claimant,
            given={"tenantId": str(self.tenant_id)},
        )

    def fence(self, side: Side) -> None:
        """Raises when this run may not write."""

        def look(tx: Transaction) -> None:
            execution = tx.one("execution_of_run", run_id=self.run_id)
            if execution is None:
                raise Refused(Code.WRONG_STATE, f"Run {self.run_id} belongs to no workflow.")
            self._check(execution, side)
            _check_not_cancelled(execution, side)

        self.database.run(look)

    def next_attempt(self, step: Step, side: Side) -> int:
        """Open another attempt; answers its number."""
        return self._record(step, side, Entry.open_attempt)

    def end_attempt(self, step: Step, side: Side, attempt: int, failure: Failure | None) -> None:
        """Close the attempt without the effect; whoever acts by now, what this run has seen is recorded."""

        def work(tx: Transaction) -> None:
            entry = self._entry(tx, step, side)
            if entry.has_ended(attempt):
                return
            entry.end_attempt(attempt, failure)
            if failure is not None and failure.lost:
                tx.do("sweep_until", id=entry.execution["id"], seconds=self.sweep_after)

        self.database.run(work)

    def wait(self, step: Step, side: Side, reason: str, token: Mapping[str, str]) -> None:
        """The outside system goes on by itself."""

        def work(entry: Entry) -> None:
            entry.wait(token)
            entry.tx.do("set_message", id=entry.execution["id"], message=reason)

        self._record(step, side, work)

    def finish(self, step: Step, attempt: int, outcome: Done | AwaitingSignal) -> None:
        """The effect is there."""

        def work(tx: Transaction) -> Execution:
            entry = self._entry(tx, step, Side.DO)
            if not entry.has_ended(attempt):
                self._check(entry.execution, Side.DO)
                self._finish(entry, attempt, outcome)
            return execution_of(tx.only("execution", id=entry.execution["id"]))

        note_end(self.journal, self.database.run(work))

    def _finish(self, entry: Entry, attempt: int, outcome: Done | AwaitingSignal) -> None:
        tx, execution, step = entry.tx, entry.execution, entry.step
        done = outcome.done if isinstance(outcome, AwaitingSignal) else outcome
        state = StepState.WAITING if isinstance(outcome, AwaitingSignal) else StepState.DONE
        found = [ensured.ref for ensured in done.found]
        entry.finish(attempt, state, facts=done.facts, found=found)
        entry.remember("ActivityTaskCompleted", attempt=attempt, details={"found": [ref.name for ref in found]})
        if step.is_pivot:
            endings.activate(tx, execution, done.metadata)
        elif done.metadata:
            tx.do("set_metadata", tenant_id=execution["tenant_id"], drop=[], metadata=dict(done.metadata))
        if isinstance(outcome, AwaitingSignal):
            await_confirmation(tx, execution, step.name, outcome.signal, outcome.seconds)
        elif step.number == self.catalogue.last.number:
            endings.complete(tx, execution)

    def fail(self, step: Step, failure: Failure, error: str) -> Verdict:
        """The step has failed: what that means for the execution, in the same transaction."""

        def work(tx: Transaction) -> Execution:
            entry = self._entry(tx, step, Side.DO)
            row = entry.row() or {}
            if row.get("run_id") != self.run_id or row["state"] not in {StepState.FAILED, StepState.OWED}:
                self._check(entry.execution, Side.DO)
                self._fail(entry, failure, error)
            return execution_of(tx.only("execution", id=entry.execution["id"]))

        return self._verdict(self.database.run(work))

    def _fail(self, entry: Entry, failure: Failure, error: str) -> None:
        tx, execution, step = entry.tx, entry.execution, entry.step
        entry.fail(StepState.OWED if step.owed_if_fails else StepState.FAILED, error=error, code=failure.code)
        transient = isinstance(failure, Outage | LockHeld)
        if step.owed_if_fails:
            tx.do("owe", tenant_id=execution["tenant_id"], step=step.name, execution_id=execution["id"])
            entry.remember("StepOwed", details={"error": error})
        elif execution["cancel_requested_at"] is not None:
            endings.stop_for_cancel(tx, execution, self.catalogue)
        elif step.number > self.catalogue.pivot.number:
            endings.fail_past_pivot(tx, execution, step=step.name, error=error, code=failure.code, transient=transient)
        else:
            endings.fail_before_pivot(
                tx, execution, step=step.name, error=error, code=failure.code, transient=transient
            )

    def stop_for_cancel(self, step: Step) -> Verdict:
        """The step stopped because of a cancel: the forward side ends here."""
        checked = False

        def work(tx: Transaction) -> Execution:
            nonlocal checked
            entry = self._entry(tx, step, Side.DO)
            if not checked:  # once only: after a lost answer the forward side may have ended by our own doing
                self._check(entry.execution, Side.DO)
                checked = True
            endings.stop_for_cancel(tx, entry.execution, self.catalogue)
            return execution_of(tx.only("execution", id=entry.execution["id"]))

        return self._verdict(self.database.run(work))

    def undone(self, step: Step, attempt: int) -> None:
        """Nothing of the step is left."""

        def work(tx: Transaction) -> None:
            entry = self._entry(tx, step, Side.UNDO)
            if not entry.has_ended(attempt):
                self._check(entry.execution, Side.UNDO)
                undoing.undone(entry, attempt)

        self.database.run(work)

    def undo_failed(self, step: Step, failure: Failure, error: str, left: Sequence[Leftover]) -> None:
        """The undo could not be done this time; what is left as of now is kept for the list."""
        self._record(step, Side.UNDO, lambda entry: undoing.undo_failed(entry, failure, error, left))

    def undo_report(self) -> UndoReport:
        """How the undo sides stand."""
        return self.database.run(lambda tx: undoing.report(tx, self._undoing(tx)))

    def rollback_again_at(self, at: datetime, because: str) -> None:
        """Another pass, later; what has to be undone again is opened again."""
        self.database.run(lambda tx: undoing.again_at(tx, self._undoing(tx), at, because))

    def close_rollback(self) -> None:
        """Close the execution, with the list of what is left."""

        def work(tx: Transaction) -> Execution:
            execution = tx.only("lock_execution_of_run", run_id=self.run_id)
            if not (State(execution["state"]).closed and execution["run_id"] == self.run_id):
                self._check(execution, Side.UNDO)
                undoing.close(tx, execution, self.catalogue)
            return execution_of(tx.only("execution", id=execution["id"]))

        note_end(self.journal, self.database.run(work))

    def _entry(self, tx: Transaction, step: Step, side: Side) -> Entry:
        """The side's entry, with the execution locked; whether this run may act is not asked."""
        return Entry(tx, tx.only("lock_execution_of_run", run_id=self.run_id), step, side, self.run_id)

    def _record(self, step: Step, side: Side, work: Callable[[Entry], Answer]) -> Answer:
        """One transaction of a run that may act. A cancel does not hinder it: what has been done is recorded."""

        def checked(tx: Transaction) -> Answer:
            entry = self._entry(tx, step, side)
            self._check(entry.execution, side)
            return work(entry)

        return self.database.run(checked)

    def _undoing(self, tx: Transaction) -> DictRow:
        execution = tx.only("lock_execution_of_run", run_id=self.run_id)
        self._check(execution, Side.UNDO)
        return execution

    def _check(self, execution: DictRow, side: Side) -> None:
        """Raises Refused unless this run may act on this side."""
        workflow, state = execution["workflow_id"], State(execution["state"])
        if execution["tenant_id"] != self.tenant_id:
            raise Refused(Code.INVALID, f"Run {self.run_id} was recorded for another tenant.")
        if state.closed:
            raise Refused(
                Code.WRONG_STATE,
                f"Workflow {workflow} (run {execution['id']}) is {state.word}: nothing may act for it any more. "
                f"Where the tenant is not ACTIVE: tenant-pipelines tenant provision {execution['tenant_key']}",
            )
        if execution["run_id"] != self.run_id:
            raise Refused(
                Code.WRONG_STATE, f"Run {execution['run_id']} acts for workflow {workflow} now, not this one."
            )
        if (side is Side.DO) != (state is State.FORWARD):
            raise Refused(Code.WRONG_STATE, f"Workflow {workflow} is in state {state}: this side may not act.")

    def _verdict(self, execution: Execution) -> Verdict:
        note_end(self.journal, execution)
        if execution.state.closed:
            return Verdict.CLOSED
        return Verdict.OWED if execution.state is State.FORWARD else Verdict.ROLLBACK_DUE


def _check_not_cancelled(execution: DictRow, side: Side) -> None:
    if side is Side.DO and execution["cancel_requested_at"] is not None:
        raise CancelRequested


def _applies(entry: Entry) -> bool:
    """Whether there is anything to do on this side of the step.

    Raises: Refused WRONG_STATE when a step before it is not done.
    """
    tx, execution, step = entry.tx, entry.execution, entry.step
    if entry.side is Side.UNDO:
        done = tx.one("step_of", execution_id=execution["id"], side=Side.DO, step=step.name)
        return step.has_undo and done is not None and done["state"] != StepState.SKIPPED
    settled = tx.only("unfinished_before", execution_id=execution["id"], number=step.number)["settled"]
    if settled < step.number - 1:
        raise Refused(
            Code.WRONG_STATE,
            f"Step {step.name} cannot be taken: only {settled} of the {step.number - 1} steps before it are done.",
        )
    return step.for_tier(Tier(execution["tier"]))


def _start(entry: Entry, names: Names) -> Begun:
    """The intent, with the names that do and undo will use."""
    tx, execution, step = entry.tx, entry.execution, entry.step
    tenant = tenant_of(tx.only("tenant_with_all", tenant_id=execution["tenant_id"]))
    if entry.side is Side.DO:
        placement = tx.only("keep_placement", tenant_id=tenant.id, names=dict(names(tenant)))["names"]
        tx.do("set_progress", id=execution["id"], step=step.name, progress=step.percent, message=step.activity)
    else:
        kept = tx.one("placement_of", tenant_id=tenant.id)
        placement = dict(names(tenant)) | (kept["names"] if kept else {})
        tx.do("set_message", id=execution["id"], message=f"Rolling back: {step.undo_activity or step.name}")
    started = entry.start()
    facts: dict[str, str] = {}
    for row in tx.all("facts_of", execution_id=execution["id"]):
        facts |= row["facts"]
    return Begun(
        execution=execution_of(execution),
        tenant=tenant,
        placement=placement,
        facts=facts,
        token=started["token"],
        started_at=started["started_at"],
        answered=started["answered"],
        attempt=entry.open_attempt(),
        keys_of=tx.only("generation_of_keys", execution_id=execution["id"])["generation"],
    )
