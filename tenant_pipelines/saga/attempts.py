"""The attempts at one side of one step: deadlines, waits, retries, and what ends them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from tenant_pipelines.domain.call import Call, DeadlinePassed
from tenant_pipelines.domain.failures import Answered, Failure, Outage, TimeIsUp, Unexpected
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.retries import Retries
from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.saga.decisions import GiveUp, after_failure, between_looks, gives_worker_back
from tenant_pipelines.saga.ledger import Begun, CancelRequested, Parked, Rest, SagaLedger
from tenant_pipelines.saga.step import Step
from tenant_pipelines.saga.work import Work, World

SLICE = 0.5
"""Seconds of a wait after which a cancel is looked for, and whether somebody wants the worker."""

LAST_LOOK = 30.0
"""Seconds that a look at what has been begun outside is given, even if the step's time is over: it may be done."""

Outcome = TypeVar("Outcome")


class GaveUp(Exception):
    """The attempts are over without the effect."""

    def __init__(self, failure: Failure, because: str) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.because = because


@dataclass
class Attempts(Generic[Outcome]):
    """One side of one step, tried until it is done or given up.

    Args:
        act: the side: answers Pending as long as the outside system goes on by itself.
        tell: hears what each attempt came to, for the run's log.
        wait_in_worker: seconds that may be slept; a wait that does not fit into what is left of them parks.
    """

    step: Step
    side: Side
    ledger: SagaLedger
    world: World
    retries: Retries
    begun: Begun
    act: Callable[[Work], Outcome | Pending]
    tell: Callable[[str], None]
    wait_in_worker: float
    _slept: float = 0.0
    _token: Mapping[str, str] | None = None
    _last: Failure | None = None

    def run(self) -> tuple[int, Outcome] | Parked:
        """Try until done, or until there is a longer wait; answers the attempt that did it, and the outcome.

        Raises: GaveUp; Refused and CancelRequested from the fence.
        """
        attempt, answered = self.begun.attempt, self.begun.answered
        self._token = self.begun.token
        while True:
            try:
                outcome = self._follow(attempt)
                return outcome if isinstance(outcome, Parked) else (attempt, outcome)
            except (Refused, CancelRequested):
                self.ledger.end_attempt(self.step, self.side, attempt, None)
                raise
            except Failure as failure:
                caught = failure
            except DeadlinePassed:
                caught = self._out_of_time()
            except Exception as error:
                caught = Unexpected.of(error)
            self._last = caught
            self.ledger.end_attempt(self.step, self.side, attempt, caught)
            if isinstance(caught, Answered):
                answered += 1
                self._token = None  # what was begun has ended badly: begin anew
            parked = self._wait_or_give_up(caught, attempt, answered)
            if parked is not None:
                return parked
            attempt = self.ledger.next_attempt(self.step, self.side)

    def _out_of_time(self) -> Failure:
        """The time is over before anything was sent: over the outage before it, where there was one."""
        if isinstance(self._last, Outage):
            return self._last
        before = f"; the try before: {self.begun.last_error}" if self.begun.last_error else ""
        return Outage("The step", f"was not done within {self.retries.one_attempt:g} s{before}")

    def _wait_or_give_up(self, failure: Failure, attempt: int, answered: int) -> Parked | None:
        decision = after_failure(
            failure, self.retries, tries=attempt, answered=answered, seconds_left=self._seconds_left()
        )
        if isinstance(decision, GiveUp):
            raise GaveUp(failure, decision.because)
        self.tell(f"attempt {attempt}: {failure}; next in {decision.wait:g} s")
        rest = Rest(f"Another try, after: {failure}", decision.wait, decision.wait, self._until, self._token)
        return self._wait(decision.wait, rest)

    def _follow(self, attempt: int) -> Outcome | Parked:
        """One attempt, followed through everything that it has to wait for."""
        while True:
            outcome = self.act(self.work(self._token))
            if not isinstance(outcome, Pending):
                return outcome
            self._token = outcome.token
            self.ledger.wait(self.step, self.side, outcome.reason, outcome.token)
            left = self._seconds_left()
            if left <= 0:
                raise TimeIsUp("The step", f"is still waiting after {self.retries.all_attempts:g} s: {outcome.reason}")
            every = min(outcome.look_again_after, left)  # the last look is made when the time is over, not before
            parked = self._wait(every, self._until_next_look(outcome, attempt, every, left))
            if parked is not None:
                return parked

    def _until_next_look(self, pending: Pending, attempt: int, every: float, left: float) -> Rest:
        """For when it parks: never past the last look within the step's time."""
        wake_in = min(between_looks(every, waited=self.retries.all_attempts - left), left - every)
        return Rest(pending.reason, max(every, wake_in), every, self._until, pending.token, attempt)

    def work(self, token: Mapping[str, str] | None) -> Work:
        """What the side is given for its next call, with a deadline that starts now."""
        clock = self.world.clock
        begun = self.begun
        seconds = min(self.retries.one_attempt, max(self._seconds_left(), LAST_LOOK if token else 0.0))
        call = Call(
            key=":".join((str(begun.tenant.id), str(begun.keys_of), self.side, self.step.name)),
            deadline=clock.monotonic() + seconds,
            fence=lambda: self.ledger.fence(self.side),
            clock=clock.monotonic,
        )
        return Work(begun.tenant, begun.execution, begun.placement, begun.facts, token, call, self.world)

    def _seconds_left(self) -> float:
        return (self._until - self.world.clock.now()).total_seconds()

    @property
    def _until(self) -> datetime:
        return self.begun.started_at + timedelta(seconds=self.retries.all_attempts)

    def _wait(self, seconds: float, rest: Rest) -> Parked | None:
        """Sleep through it here, if that is short enough and nobody wants the worker back; else park."""
        if seconds <= self.wait_in_worker - self._slept:
            self._slept += seconds
            left = self._sleep(seconds)
            if left is None:
                return None
            rest = replace(rest, wake_in=left)
        return self.ledger.park(self.step, self.side, rest)

    def _sleep(self, seconds: float) -> float | None:
        """Sleep in slices, after each of which a cancel is seen; answers what is left if the worker is given back."""
        left = seconds
        while left > 0:
            self.world.clock.sleep(min(SLICE, left))
            left = max(left - SLICE, 0.0)
            if gives_worker_back(self.ledger.worker_wanted(self.side), left):
                return left
        return None
