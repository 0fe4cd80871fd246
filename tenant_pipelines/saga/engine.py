"""Takes one step forward, or one step back: intent, effect, record.

Both are safe to call again after any crash, because the ledger decides each time what there is left to do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tenant_pipelines.domain.call import DeadlinePassed
from tenant_pipelines.domain.failures import Failure
from tenant_pipelines.domain.outcomes import AlreadyDone, Ensured, Removal
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.workflow import Leftover, Side, StepState
from tenant_pipelines.saga.attempts import Attempts, GaveUp
from tenant_pipelines.saga.decisions import Again, Close, after_undo
from tenant_pipelines.saga.ledger import CancelRequested, Parked, SagaLedger, Settled, Verdict
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step
from tenant_pipelines.saga.wording import error_of
from tenant_pipelines.saga.work import Work, World

Tell = Callable[[str], None]

WAIT_IN_WORKER = 15.0
"""Seconds; what the setting `wait_in_worker` is if nobody sets it."""


class StepFailed(Exception):
    """The step's attempts or its time are used up; the ledger knows, and what follows is due."""


class StepCancelled(Exception):
    """The step stopped because of a cancel; the ledger knows, and what follows is due."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A step forward, as the run shows it. `note`: why it is owed, where it is."""

    state: StepState
    found: Sequence[Ensured]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A step back, as the run shows it. `error`: why it failed, where it did."""

    state: StepState
    removals: Sequence[Removal]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """What a Dagster run needs in order to act for its execution.

    Args:
        ledger: the ledger as this run sees it.
        undo_retry_every, undo_retry_for, wait_in_worker: seconds, the settings of the same names.
    """

    ledger: SagaLedger
    world: World
    retries: Mapping[Group, Retries]
    undo_retry_every: float
    undo_retry_for: float
    wait_in_worker: float = WAIT_IN_WORKER

    def forward(self, step: Step, tell: Tell) -> Taken | Parked:
        """Take one step. Parked: it waits, and another run goes on with it; this one may not act any longer.

        Args: tell: hears what each attempt came to, for the run's log.
        Raises: Refused when this run may not act; StepFailed; StepCancelled.
        """
        try:
            return self._forward(step, tell)
        except CancelRequested:
            self.ledger.stop_for_cancel(step)
            raise StepCancelled(f"Cancelled at {step.name}") from None

    def _forward(self, step: Step, tell: Tell) -> Taken | Parked:
        begun = self.ledger.begin(step, Side.DO, lambda tenant: step.names(tenant, self.world.rules))
        if isinstance(begun, Parked):
            return begun
        if isinstance(begun, Settled):
            return Taken(begun.state, [AlreadyDone(ref) for ref in begun.found])
        attempts = Attempts[Done | AwaitingSignal](
            step,
            Side.DO,
            self.ledger,
            self.world,
            self.retries[step.retries],
            begun,
            step.run_do,
            tell,
            self.wait_in_worker,
        )
        try:
            ended = attempts.run()
        except GaveUp as gave_up:
            failure, because = gave_up.failure, gave_up.because
            error = error_of(step, Side.DO, begun.tenant, failure, because)
            verdict = self.ledger.fail(step, failure, error)
            if verdict is Verdict.OWED:
                return Taken(StepState.OWED, (), error)
            raise StepFailed(error) from failure
        if isinstance(ended, Parked):
            return ended
        attempt, outcome = ended
        self.ledger.finish(step, attempt, outcome)
        done = outcome.done if isinstance(outcome, AwaitingSignal) else outcome
        state = StepState.WAITING if isinstance(outcome, AwaitingSignal) else StepState.DONE
        return Taken(state, done.found)

    def backward(self, step: Step, tell: Tell) -> TakenBack | Parked:
        """Undo one step. A failing undo is recorded and answered, not raised: the other steps are undone all the same.

        Parked: as of `forward`.

        Raises: Refused when this run may not act.
        """
        begun = self.ledger.begin(step, Side.UNDO, lambda tenant: step.names(tenant, self.world.rules))
        if isinstance(begun, Parked):
            return begun
        if isinstance(begun, Settled):
            return TakenBack(begun.state, ())
        attempts = Attempts[Sequence[Removal]](
            step,
            Side.UNDO,
            self.ledger,
            self.world,
            self.retries[step.retries],
            begun,
            step.run_undo,
            tell,
            self.wait_in_worker,
        )
        try:
            ended = attempts.run()
        except GaveUp as gave_up:
            error = error_of(step, Side.UNDO, begun.tenant, gave_up.failure, gave_up.because)
            left = _left(step, attempts.work(None), error)
            self.ledger.undo_failed(step, gave_up.failure, error, left)
            return TakenBack(StepState.FAILED, (), error)
        if isinstance(ended, Parked):
            return ended
        attempt, removals = ended
        self.ledger.undone(step, attempt)
        return TakenBack(StepState.DONE, removals)

    def conclude(self) -> Close | Again:
        """End a rollback whose undo sides have all been tried: close the execution, or say when it goes on.

        Raises: Refused when this run may not act.
        """
        report = self.ledger.undo_report()
        decision = after_undo(
            report,
            now=self.world.clock.now(),
            every=self.undo_retry_every,
            give_up_after=self.undo_retry_for,
        )
        if isinstance(decision, Again):
            self.ledger.rollback_again_at(decision.at, decision.because)
        else:
            self.ledger.close_rollback()
        return decision


def _left(step: Step, work: Work, reason: str) -> Sequence[Leftover]:
    """What is left of the step: what its system shows, or all that may be there when it cannot be asked."""
    try:
        found = step.run_find(work)
    except (Failure, DeadlinePassed):
        found = step.possible(work)
    return [Leftover(ref.system, ref.kind, ref.name, ref.id, step.name, reason) for ref in found]
