"""The ledger as one Dagster run of one execution sees it: the engine's protocol on PostgreSQL."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.failures import Answered, Failure, Outage
from tenant_pipelines.domain.journal import Journal, Marker
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status, Tenant, Tier
from tenant_pipelines.domain.workflow import Leftover, Side, State, StepState
from tenant_pipelines.ledger import endings
from tenant_pipelines.ledger.claims import Claimant, claim_provision, remember
from tenant_pipelines.ledger.confirmation import await_confirmation
from tenant_pipelines.ledger.database import Database, Transaction
from tenant_pipelines.ledger.rows import execution_of, refs_as_json, refs_of, tenant_of
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.ledger import Begun, CancelRequested, Settled, UndoReport, Verdict
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step

_SETTLED = {StepState.DONE, StepState.SKIPPED, StepState.OWED}


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

    def begin(self, step: Step, side: Side, names: Callable[[Tenant], Mapping[str, str]]) -> Begun | Settled:
        """Claim or join, check, and make the intent durable."""
        claimed, answer = self.database.run(lambda tx: self._begin(tx, step, side, names))
        if claimed:
            self._note(Marker.START, f"Provisioning of tenant {self.tenant_id} by {self.claimant.by}", claimed, None)
        if isinstance(answer, Begun):
            marker = Marker.STEP if side is Side.DO else Marker.ROLLBACK
            self._journal(marker, f"{step.activity} attempt {answer.attempt}", answer, step.name)
        return answer

    def _begin(
        self, tx: Transaction, step: Step, side: Side, names: Callable[[Tenant], Mapping[str, str]]
    ) -> tuple[DictRow | None, Begun | Settled]:
        claimed = None
        execution = tx.one("lock_execution_of_run", run_id=self.run_id)
        if execution is None:
            execution = claimed = self._claim(tx, step, side)
        self._check(execution, side)
        row = tx.one("step_of", execution_id=execution["id"], side=side, step=step.name)
        if row is not None and StepState(row["state"]) in _SETTLED:
            return claimed, Settled(StepState(row["state"]), refs_of(row["found"]))
        if not self._applies(tx, execution, step, side):
            tx.do("skip_step", **self._key(execution, step, side), number=step.number, run_id=self.run_id)
            return claimed, Settled(StepState.SKIPPED, ())
        return claimed, self._start(tx, execution, step, side, names)

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

    def _check(self, execution: DictRow, side: Side) -> None:
        """Raises Refused or CancelRequested unless this run may act on this side."""
        workflow, state = execution["workflow_id"], State(execution["state"])
        if execution["tenant_id"] != self.tenant_id:
            raise Refused(Code.INVALID, f"Run {self.run_id} was recorded for another tenant.")
        if state.closed:
            raise Refused(
                Code.WRONG_STATE,
                f"Workflow {workflow} (run {execution['id']}) is {state.word}: nothing may act for it any more. "
                f"To run it again: tenant-pipelines workflow restart {workflow}",
            )
        if execution["run_id"] != self.run_id:
            raise Refused(
                Code.WRONG_STATE, f"Run {execution['run_id']} acts for workflow {workflow} now, not this one."
            )
        if (side is Side.DO) != (state is State.FORWARD):
            raise Refused(Code.WRONG_STATE, f"Workflow {workflow} is in state {state}: this side may not act.")
        if side is Side.DO and execution["cancel_requested_at"] is not None:
            raise CancelRequested

    def _applies(self, tx: Transaction, execution: DictRow, step: Step, side: Side) -> bool:
        if side is Side.UNDO:
            done = tx.one("step_of", execution_id=execution["id"], side=Side.DO, step=step.name)
            return step.has_undo and done is not None and done["state"] != StepState.SKIPPED
        settled = tx.only("unfinished_before", execution_id=execution["id"], number=step.number)["settled"]
        if settled < step.number - 1:
            raise Refused(
                Code.WRONG_STATE,
                f"Step {step.name} cannot be taken: only {settled} of the {step.number - 1} steps before it are done.",
            )
        return step.for_tier(Tier(execution["tier"]))

    def _start(
        self,
        tx: Transaction,
        execution: DictRow,
        step: Step,
        side: Side,
        names: Callable[[Tenant], Mapping[str, str]],
    ) -> Begun:
        tenant = tenant_of(tx.only("tenant_with_all", tenant_id=execution["tenant_id"]))
        if side is Side.DO:
            placement = tx.only("keep_placement", tenant_id=tenant.id, names=dict(names(tenant)))["names"]
            tx.do("set_progress", id=execution["id"], step=step.name, progress=step.percent, message=step.activity)
        else:
            kept = tx.one("placement_of", tenant_id=tenant.id)
            placement = dict(names(tenant)) | (kept["names"] if kept else {})
            tx.do("set_message", id=execution["id"], message=f"Rolling back: {step.undo_activity or step.name}")
        started = tx.only("start_step", **self._key(execution, step, side), number=step.number, run_id=self.run_id)
        attempt = self._open_attempt(tx, execution, step, side)
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
            attempt=attempt,
        )

    def fence(self, side: Side) -> None:
        """Raises when this run may not write."""

        def look(tx: Transaction) -> None:
            execution = tx.one("execution_of_run", run_id=self.run_id)
            if execution is None:
                raise Refused(Code.WRONG_STATE, f"Run {self.run_id} belongs to no workflow.")
            self._check(execution, side)

        self.database.run(look)

    def next_attempt(self, step: Step, side: Side) -> int:
        """Open another attempt; answers its number."""

        def work(tx: Transaction) -> int:
            return self._open_attempt(tx, self._locked(tx, side), step, side)

        return self.database.run(work)

    def end_attempt(self, step: Step, side: Side, attempt: int, failure: Failure | None) -> None:
        """Close the attempt without the effect."""

        def work(tx: Transaction) -> None:
            execution = tx.only("lock_execution_of_run", run_id=self.run_id)
            key = self._key(execution, step, side)
            error = {"error": str(failure) if failure else None, "error_code": failure.code if failure else None}
            lost = failure.lost if failure else False
            tx.do("close_attempt", **key, number=attempt, outcome=_outcome(failure), lost=lost, **error)
            if failure is None:
                return
            tx.do("count_failure", **key, answered=int(isinstance(failure, Answered)), lost=lost, **error)
            if lost:
                tx.do("sweep_until", id=execution["id"], seconds=self.sweep_after)
            remember(tx, execution, "ActivityTaskFailed", step=step.name, attempt=attempt, details=error)

        self.database.run(work)

    def wait(self, step: Step, side: Side, reason: str, token: Mapping[str, str]) -> None:
        """The outside system goes on by itself."""

        def work(tx: Transaction) -> None:
            execution = self._locked(tx, side)
            tx.do("step_waits", **self._key(execution, step, side), token=dict(token))
            tx.do("set_message", id=execution["id"], message=reason)

        self.database.run(work)

    def finish(self, step: Step, attempt: int, outcome: Done | AwaitingSignal) -> None:
        """The effect is there."""
        execution = self.database.run(lambda tx: self._finish(tx, step, attempt, outcome))
        if State(execution["state"]) is State.COMPLETED:
            self._note(Marker.COMPLETE, f"Tenant {execution['tenant_key']} is provisioned", execution, step.name)
        elif State(execution["state"]) is State.FAILED:
            self._note(Marker.FAIL, execution["error"], execution, step.name)

    def _finish(self, tx: Transaction, step: Step, attempt: int, outcome: Done | AwaitingSignal) -> DictRow:
        execution = self._locked(tx, Side.DO)
        done = outcome.done if isinstance(outcome, AwaitingSignal) else outcome
        key = self._key(execution, step, Side.DO)
        found = refs_as_json([ensured.ref for ensured in done.found])
        state = StepState.WAITING if isinstance(outcome, AwaitingSignal) else StepState.DONE
        tx.do("close_attempt", **key, number=attempt, outcome="done", error=None, error_code=None, lost=False)
        tx.do("finish_step", **key, state=state.value, facts=dict(done.facts), found=found)
        details = {"found": [ensured.ref.name for ensured in done.found]}
        remember(tx, execution, "ActivityTaskCompleted", step=step.name, attempt=attempt, details=details)
        if step.is_pivot:
            tx.only(
                "set_status",
                tenant_id=execution["tenant_id"],
                new=Status.ACTIVE.value,
                old=[Status.PROVISIONING.value],
                drop=["requiresManualCleanup"],
                metadata=dict(done.metadata),
            )
        elif done.metadata:
            tx.do("set_metadata", tenant_id=execution["tenant_id"], drop=[], metadata=dict(done.metadata))
        if isinstance(outcome, AwaitingSignal):
            await_confirmation(tx, execution, step.name, outcome.signal, outcome.seconds)
        elif step.number == self.catalogue.last.number:
            endings.complete(tx, execution)
        return tx.only("execution", id=execution["id"])

    def fail(self, step: Step, failure: Failure, error: str) -> Verdict:
        """The step has failed: what that means for the execution, in the same transaction."""
        verdict, execution = self.database.run(lambda tx: self._fail(tx, step, failure, error))
        if verdict is Verdict.CLOSED:
            self._note(Marker.FAIL, error, execution, step.name)
        elif verdict is Verdict.ROLLBACK_DUE:
            self._note(Marker.ROLLBACK, f"due: {error}", execution, step.name)
        return verdict

    def _fail(self, tx: Transaction, step: Step, failure: Failure, error: str) -> tuple[Verdict, DictRow]:
        execution = self._locked(tx, Side.DO)
        state = StepState.OWED if step.owed_if_fails else StepState.FAILED
        tx.do(
            "fail_step",
            **self._key(execution, step, Side.DO),
            state=state.value,
            error=error,
            error_code=failure.code,
            found=Jsonb([]),
        )
        if step.owed_if_fails:
            tx.do("owe", tenant_id=execution["tenant_id"], step=step.name, execution_id=execution["id"])
            remember(tx, execution, "StepOwed", step=step.name, details={"error": error})
            return Verdict.OWED, execution
        if step.number > self.catalogue.pivot.number:
            endings.fail_past_pivot(tx, execution, step=step.name, error=error, code=failure.code)
            return Verdict.CLOSED, execution
        tx.only(
            "rollback_due",
            id=execution["id"],
            failed_step=step.name,
            error=f"PROVISION_FAILED: {error}",
            error_code=failure.code,
            transient=isinstance(failure, Outage),
        )
        return Verdict.ROLLBACK_DUE, execution

    def stop_for_cancel(self, step: Step) -> Verdict:
        """The step stopped because of a cancel: the forward side ends here."""
        verdict, execution = self.database.run(lambda tx: self._stop_for_cancel(tx, step))
        self._note(Marker.ROLLBACK, f"due: cancelled by {execution['cancel_requested_by']}", execution, step.name)
        return verdict

    def _stop_for_cancel(self, tx: Transaction, step: Step) -> tuple[Verdict, DictRow]:
        execution = tx.only("lock_execution_of_run", run_id=self.run_id)
        pivot = tx.one("step_of", execution_id=execution["id"], side=Side.DO, step=self.catalogue.pivot.name)
        if pivot is None or pivot["state"] != StepState.DONE:
            tx.one(
                "rollback_due",
                id=execution["id"],
                failed_step=None,
                error=None,
                error_code="Cancelled",
                transient=False,
            )
            return Verdict.ROLLBACK_DUE, execution
        owed = [later.name for later in self.catalogue.steps if later.number >= step.number]
        endings.cancel_past_pivot(tx, execution, owed)
        return Verdict.CLOSED, execution

    def undone(self, step: Step, attempt: int) -> None:
        """Nothing of the step is left."""

        def work(tx: Transaction) -> None:
            execution = self._locked(tx, Side.UNDO)
            key = self._key(execution, step, Side.UNDO)
            tx.do("close_attempt", **key, number=attempt, outcome="done", error=None, error_code=None, lost=False)
            tx.do("finish_step", **key, state=StepState.DONE.value, facts={}, found=Jsonb([]))
            remember(tx, execution, "CompensationCompleted", step=step.name, attempt=attempt)

        self.database.run(work)

    def undo_failed(self, step: Step, failure: Failure, error: str, left: Sequence[Leftover]) -> None:
        """The undo could not be done this time; what is left as of now is kept for the list."""

        def work(tx: Transaction) -> None:
            execution = self._locked(tx, Side.UNDO)
            tx.do(
                "fail_step",
                **self._key(execution, step, Side.UNDO),
                state=StepState.FAILED.value,
                error=error,
                error_code=failure.code,
                found=Jsonb([thing.as_json() for thing in left]),
            )
            tx.do("undo_failing", id=execution["id"])
            remember(tx, execution, "CompensationFailed", step=step.name, details={"error": error})

        self.database.run(work)

    def undo_report(self) -> UndoReport:
        """How the undo sides stand."""

        def work(tx: Transaction) -> UndoReport:
            execution = self._locked(tx, Side.UNDO)
            failing = tx.all("failing_undo", execution_id=execution["id"])
            return UndoReport(
                {row["step"]: row["error"] for row in failing},
                execution["undo_failing_since"] if failing else None,
                execution["sweep_until"],
            )

        return self.database.run(work)

    def rollback_again_at(self, at: datetime, because: str) -> None:
        """Another pass, later; what has to be undone again is opened again."""

        def work(tx: Transaction) -> None:
            execution = self._locked(tx, Side.UNDO)
            tx.do("undo_once_more", execution_id=execution["id"])
            tx.do(
                "rollback_again_at",
                id=execution["id"],
                at=at,
                message=f"Rolling back again at {at:%H:%M:%S}: {because}",
            )
            remember(tx, execution, "CompensationScheduled", details={"at": at.isoformat(), "because": because})

        self.database.run(work)

    def close_rollback(self) -> None:
        """Close the execution, with the list of what is left."""

        def work(tx: Transaction) -> tuple[State, DictRow]:
            execution = self._locked(tx, Side.UNDO)
            undo = [row for row in tx.all("steps_of", execution_id=execution["id"]) if row["side"] == Side.UNDO]
            compensated = [row["step"] for row in undo if row["state"] == StepState.DONE]
            left = [Leftover(**thing) for row in undo if row["state"] == StepState.FAILED for thing in row["found"]]
            return endings.end_rollback(tx, execution, [*compensated, self.catalogue.steps[0].name], left), execution

        state, execution = self.database.run(work)
        if state is State.FAILED:
            self._note(Marker.FAIL, execution["error"], execution, execution["failed_step"])
        else:
            self._note(Marker.COMPLETE, "cancelled and rolled back", execution, None)

    def _locked(self, tx: Transaction, side: Side) -> DictRow:
        execution = tx.only("lock_execution_of_run", run_id=self.run_id)
        with contextlib.suppress(CancelRequested):  # what has been done is recorded; the next step sees the cancel
            self._check(execution, side)
        return execution

    def _open_attempt(self, tx: Transaction, execution: DictRow, step: Step, side: Side) -> int:
        key = self._key(execution, step, side)
        number: int = tx.only("open_attempt", **key, run_id=self.run_id)["number"]
        kind = "ActivityTaskStarted" if side is Side.DO else "CompensationStarted"
        remember(tx, execution, kind, step=step.name, attempt=number)
        return number

    @staticmethod
    def _key(execution: DictRow, step: Step, side: Side) -> dict[str, object]:
        return {"execution_id": execution["id"], "side": side.value, "step": step.name}

    def _journal(self, marker: Marker, text: str, begun: Begun, step: str) -> None:
        run = begun.execution
        self.journal.note(marker, text, tenant_id=run.tenant_id, workflow_id=run.workflow_id, run_id=run.id, step=step)

    def _note(self, marker: Marker, text: str, execution: DictRow, step: str | None) -> None:
        self.journal.note(
            marker,
            text,
            tenant_id=execution["tenant_id"],
            workflow_id=execution["workflow_id"],
            run_id=execution["id"],
            step=step,
        )


def _outcome(failure: Failure | None) -> str:
    match failure:
        case None:
            return "stopped"
        case Outage():
            return "outage"
        case Answered():
            return "answered"
        case _:
            return "permanent"
