"""One side of one step of an execution: its row, its attempts, and what the history says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.failures import Answered, Failure, Outage
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.workflow import Side, StepState
from tenant_pipelines.ledger.claims import remember
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.rows import refs_as_json
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step

_SHOWN = ("step", "progress", "message", "updated_at", "losses", "version")
"""What the beginning of a step changes of its execution."""

BEHIND = frozenset({StepState.DONE, StepState.SKIPPED, StepState.OWED})
"""The states of a step that nothing has to be done about any more."""


def open_steps(tx: Transaction, execution_id: UUID, catalogue: Catalogue) -> list[str]:
    """The steps of the forward side that are not behind us, in their order."""
    rows = tx.all("steps_of", execution_id=execution_id)
    behind = {row["step"] for row in rows if row["side"] == Side.DO and row["state"] in BEHIND}
    return [step.name for step in catalogue.steps if step.name not in behind]


def fail_step(
    tx: Transaction,
    execution_id: UUID,
    side: Side,
    step: str,
    *,
    state: StepState,
    error: str,
    code: str,
    left: Sequence[Mapping[str, str]] = (),
) -> None:
    """A side of a step has ended without its effect. Args: left: what an undo could not remove."""
    tx.do(
        "fail_step",
        execution_id=execution_id,
        side=side.value,
        step=step,
        state=state.value,
        error=error,
        error_code=code,
        found=Jsonb([dict(thing) for thing in left]),
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of one step, in one transaction that holds the execution's lock.

    `start` and `finish` do without: see `quick`.

    Args: execution: with its `version`; what `start` changes is changed here too. run_id: the Dagster run that acts.
    """

    tx: Transaction
    execution: DictRow
    step: Step
    side: Side
    run_id: UUID

    def row(self) -> DictRow | None:
        """The side's row, or None before it was begun."""
        return self.tx.one("step_of", **self._key)

    def before(self) -> DictRow:
        """All that decides how the side begins, the tenant included: see the query."""
        return self.tx.only("step_to_begin", **self._key, number=self.step.number, run_id=self.run_id)

    def start(self, message: str, new_names: Mapping[str, str] | None) -> DictRow | None:
        """Make the intent durable, with an attempt; a side that had been begun goes on with its token and its count.

        None, with nothing written, where the execution is not any more as it is here; that cannot be under its lock.

        Args: message: what people see. new_names: what the tenant's placement is to have, or None: nothing new.
        """
        started = self.tx.one(
            "begin_step",
            **self._key,
            number=self.step.number,
            run_id=self.run_id,
            tenant_id=self.execution["tenant_id"],
            event=self._attempt_started,
            message=message,
            progress=self.step.percent if self.side is Side.DO else 0,
            new_names=new_names,
            version=self.execution["version"],
        )
        if started is not None:
            self.execution.update((name, started[name]) for name in _SHOWN)
        return started

    def skip(self) -> None:
        """There is nothing to do on this side."""
        self.tx.do("skip_step", **self._key, number=self.step.number, run_id=self.run_id)

    def open_attempt(self) -> int:
        """Begin another attempt; answers its number, which no other run is given."""
        number: int = self.tx.only("open_attempt", **self._key, run_id=self.run_id)["number"]
        self.remember(self._attempt_started, attempt=number)
        return number

    def has_ended(self, attempt: int) -> bool:
        """Whether this attempt's end is recorded: after a lost answer the same call comes again."""
        return self.tx.one("ended_attempt", **self._key, number=attempt) is not None

    def end_attempt(self, attempt: int, failure: Failure | None) -> None:
        """Without the effect: with a failure, or (None) because the run had to stop."""
        error = {"error": str(failure) if failure else None, "error_code": failure.code if failure else None}
        lost = failure.lost if failure else False
        self.tx.do("close_attempt", **self._key, number=attempt, outcome=_outcome(failure), lost=lost, **error)
        if failure is None:
            return
        answered = int(isinstance(failure, Answered))
        self.tx.do("count_failure", **self._key, run_id=self.run_id, answered=answered, lost=lost, **error)
        kind = "ActivityTaskFailed" if self.side is Side.DO else "CompensationAttemptFailed"
        self.remember(kind, attempt=attempt, details=error)

    def wait(self, token: Mapping[str, str]) -> None:
        """The outside system goes on by itself; the token finds it again."""
        self.tx.do("step_waits", **self._key, token=dict(token))

    def end_waiting(self, attempt: int) -> None:
        """The attempt ends here; what it has begun outside goes on, and another one follows it."""
        waiting = {"outcome": "waiting", "error": None, "error_code": None, "lost": False}
        self.tx.do("close_attempt", **self._key, number=attempt, **waiting)

    def finish(
        self,
        attempt: int,
        state: StepState,
        *,
        facts: Mapping[str, str],
        found: Sequence[ObjectRef] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> bool | None:
        """With the effect. Answers False, with nothing written, where the attempt's end is recorded already.

        None, with nothing written, where the execution is not any more as it is here; that cannot be under its lock.

        Args: metadata: to be added to the tenant's.
        """
        event, details = (
            ("ActivityTaskCompleted", {"found": [ref.name for ref in found]})
            if self.side is Side.DO
            else ("CompensationCompleted", {})
        )
        ended = self.tx.only(
            "finish_attempt",
            **self._key,
            number=attempt,
            tenant_id=self.execution["tenant_id"],
            state=state.value,
            facts=dict(facts),
            found=refs_as_json(found),
            event=event,
            details=details,
            metadata=dict(metadata) if metadata else None,
            version=self.execution["version"],
        )
        return not ended["before"] if ended["held"] else None

    def fail(self, state: StepState, *, error: str, code: str, left: Sequence[Mapping[str, str]] = ()) -> None:
        """The attempts are over without the effect."""
        fail_step(
            self.tx,
            self.execution["id"],
            self.side,
            self.step.name,
            state=state,
            error=error,
            code=code,
            left=left,
        )

    def remember(self, kind: str, *, attempt: int | None = None, details: Mapping[str, Any] | None = None) -> None:
        """Append an event about this step to the history."""
        remember(self.tx, self.execution, kind, step=self.step.name, attempt=attempt, details=details)

    @property
    def _attempt_started(self) -> str:
        return "ActivityTaskStarted" if self.side is Side.DO else "CompensationStarted"

    @property
    def _key(self) -> dict[str, object]:
        return {"execution_id": self.execution["id"], "side": self.side.value, "step": self.step.name}


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


def recorded_done(entry: Entry, attempt: int, outcome: Done | AwaitingSignal) -> bool | None:
    """Record the effect, unless that has been done; answers as `Entry.finish`."""
    done = done_of(outcome)
    return entry.finish(
        attempt,
        StepState.WAITING if isinstance(outcome, AwaitingSignal) else StepState.DONE,
        facts=done.facts,
        found=[ensured.ref for ensured in done.found],
        metadata=None if entry.step.is_pivot else done.metadata,  # the activation sets them with the status
    )


def done_of(outcome: Done | AwaitingSignal) -> Done:
    """What has been done."""
    return outcome.done if isinstance(outcome, AwaitingSignal) else outcome
