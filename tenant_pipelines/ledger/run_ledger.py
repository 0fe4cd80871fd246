"""The ledger as one Dagster run of one execution sees it: the engine's protocol on PostgreSQL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.failures import Failure, LockHeld, Outage
from tenant_pipelines.domain.journal import Journal, Marker, note_about, note_end
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import Execution, Leftover, Side, State, StepState
from tenant_pipelines.ledger import endings, quick, undoing
from tenant_pipelines.ledger.beginning import Names, applies, start
from tenant_pipelines.ledger.claims import Claimant, claim_provision
from tenant_pipelines.ledger.confirmation import await_confirmation
from tenant_pipelines.ledger.database import Answer, Database, Transaction
from tenant_pipelines.ledger.launches import FORMAT
from tenant_pipelines.ledger.parking import hand_over, park, parked_by
from tenant_pipelines.ledger.rows import execution_of, refs_of, rests
from tenant_pipelines.ledger.steps import BEHIND, Entry, done_of, recorded_done
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.ledger import Begun, CancelRequested, Parked, Rest, Settled, UndoReport, Verdict, Wanted
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step


@dataclass(frozen=True, slots=True)
class RunLedger:
    """One run's view.

    Args:
        tenant_id: what the run was launched for.
        claimant: who is to be named if the run itself claims the execution (a launch in Dagster's UI).
        sweep_after: seconds for which a lost call may still take effect.
        seen: what the run knows of its execution; to be kept from step to step.
    """

    database: Database
    catalogue: Catalogue
    run_id: UUID
    tenant_id: UUID
    claimant: Claimant
    journal: Journal
    sweep_after: float
    seen: quick.Seen = field(default_factory=quick.Seen)

    def begin(self, step: Step, side: Side, names: Names) -> Begun | Settled | Parked:
        """Claim or join, check, and make the intent durable."""
        claimed, answer = self._begin_quickly(step, side, names) or self.database.run(
            lambda tx: self._begin(tx, step, side, names)
        )
        if claimed:
            text = f"Provisioning of tenant {claimed.tenant_key} by {self.claimant.by}"
            note_about(self.journal, claimed, Marker.START, text)
        match answer:
            case Begun(execution=run, attempt=attempt):
                self._note(step, side, run.workflow_id, run.id, f"attempt {attempt}")
            case Parked():
                self._note_wait(step, answer)
        return answer

    def _note_wait(self, step: Step, parked: Parked) -> None:
        self._note(step, parked.side, parked.workflow_id, parked.execution_id, f"waits: {parked.reason}")

    def _note(self, step: Step, side: Side, workflow_id: str, execution_id: UUID, what: str) -> None:
        marker, activity = (
            (Marker.STEP, step.activity) if side is Side.DO else (Marker.ROLLBACK, step.undo_activity or step.name)
        )
        self.journal.note(
            marker,
            f"{activity} {what}",
            tenant_id=self.tenant_id,
            workflow_id=workflow_id,
            run_id=execution_id,
            step=step.name,
        )

    def _begin_quickly(self, step: Step, side: Side, names: Names) -> tuple[None, Begun] | None:
        execution = self.seen.of(side, self.run_id, self.tenant_id)
        if execution is None:
            return None
        begun = self.database.each_alone(lambda tx: quick.begin(Entry(tx, execution, step, side, self.run_id), names))
        return None if begun is None else (None, begun)

    def _begin(
        self, tx: Transaction, step: Step, side: Side, names: Names
    ) -> tuple[Execution | None, Begun | Settled | Parked]:
        claimed = None
        execution = tx.one("lock_execution_of_run", run_id=self.run_id)
        if execution is None:
            claimed = execution_of(self._claim(tx, step, side))
            execution = tx.only("lock_execution_of_run", run_id=self.run_id)
        entry = Entry(tx, execution, step, side, self.run_id)
        if (parked := parked_by(entry)) is not None:  # this very call, whose answer was lost
            return None, parked
        self._check(execution, side)
        _check_not_cancelled(execution, side)
        before = entry.before()
        if before["state"] in BEHIND:
            return claimed, Settled(StepState(before["state"]), refs_of(before["found"]))
        if not applies(entry, before):
            entry.skip()
            return claimed, Settled(StepState.SKIPPED, ())
        if execution.get("hand_over"):
            return claimed, hand_over(entry)
        begun = start(entry, names, before)
        if begun is None:
            raise LookupError(f"execution {execution['id']} has changed under its lock")
        self.seen.keep(side, execution)
        return claimed, begun

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
        self._standing(side, "standing_of_run")

    def worker_wanted(self, side: Side) -> Wanted:
        """Who wants its worker back; raises as the fence."""
        standing = self._standing(side, "standing_of_sleeping_run", format=FORMAT)
        if standing["hand_over"]:
            return Wanted.BY_POOL
        return Wanted.BY_OTHERS if standing["others_wait"] else Wanted.BY_NOBODY

    def _standing(self, side: Side, query: str, **values: object) -> DictRow:
        standing = self.database.ask(query, run_id=self.run_id, **values)
        if standing is None:
            raise Refused(Code.WRONG_STATE, f"Run {self.run_id} belongs to no workflow.")
        self._check(standing, side)
        _check_not_cancelled(standing, side)
        return standing

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

    def park(self, step: Step, side: Side, rest: Rest) -> Parked:
        """The step waits, and no run may act."""

        def work(tx: Transaction) -> Parked:
            entry = self._entry(tx, step, side)
            if (parked := parked_by(entry)) is not None:
                return parked
            self._check(entry.execution, side)
            _check_not_cancelled(entry.execution, side)
            return park(entry, rest)

        parked = self.database.run(work)
        self._note_wait(step, parked)
        return parked

    def finish(self, step: Step, attempt: int, outcome: Done | AwaitingSignal) -> None:
        """The effect is there."""
        if isinstance(outcome, Done) and self._goes_on_after(step) and self._finished_quickly(step, attempt, outcome):
            return

        def work(tx: Transaction) -> Execution:
            entry = self._entry(tx, step, Side.DO)
            if not recorded_done(entry, attempt, outcome):  # by this very call, whose answer was lost
                return execution_of(entry.execution)
            self._check(entry.execution, Side.DO)  # else nothing has been written after all
            return execution_of(self._go_on(entry, outcome))

        note_end(self.journal, self.database.run(work))

    def _goes_on_after(self, step: Step) -> bool:
        return not step.is_pivot and step.number != self.catalogue.last.number

    def _finished_quickly(self, step: Step, attempt: int, done: Done) -> bool:
        execution = self.seen.of(Side.DO, self.run_id, self.tenant_id)
        if execution is None:
            return False
        return self.database.each_alone(
            lambda tx: quick.finish(Entry(tx, execution, step, Side.DO, self.run_id), attempt, done)
        )

    def _go_on(self, entry: Entry, outcome: Done | AwaitingSignal) -> DictRow:
        """What follows from a step that is done; answers the execution as it is then."""
        tx, execution, step = entry.tx, entry.execution, entry.step
        if step.is_pivot:
            endings.activate(tx, execution, done_of(outcome).metadata)
        if isinstance(outcome, AwaitingSignal):
            await_confirmation(tx, execution, step.name, outcome.signal, outcome.seconds)
        elif step.number == self.catalogue.last.number:
            endings.complete(tx, execution)
        else:
            return execution
        return tx.only("execution", id=execution["id"])

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
            if undoing.undone(entry, attempt):
                self._check(entry.execution, Side.UNDO)  # else nothing has been written after all

        self.database.run(work)

    def undo_failed(self, step: Step, failure: Failure, error: str, left: Sequence[Leftover]) -> None:
        """The undo could not be done this time; what is left as of now is kept for the list."""
        self._record(step, Side.UNDO, lambda entry: undoing.undo_failed(entry, failure, error, left))

    def undo_report(self) -> UndoReport:
        """How the undo sides stand."""
        return self.database.run(lambda tx: undoing.report(tx, self._undoing(tx)))

    def rollback_again_at(self, at: datetime, because: str) -> None:
        """Another pass, later; what has to be undone again is opened again."""

        def work(tx: Transaction) -> None:
            execution = tx.only("lock_execution_of_run", run_id=self.run_id)
            if execution["run_id"] == self.run_id and execution["next_undo_at"] is not None:
                return  # by this very call, whose answer was lost
            self._check(execution, Side.UNDO)
            undoing.again_at(tx, execution, at, because)

        self.database.run(work)

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
        if rests(execution):
            raise Refused(Code.WRONG_STATE, f"Workflow {workflow} waits: no run acts for it until it is woken.")
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
