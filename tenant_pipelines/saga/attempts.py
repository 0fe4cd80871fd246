"""The attempts at one side of one step: deadlines, waits, retries, and what ends them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from tenant_pipelines.domain.call import Call, DeadlinePassed
from tenant_pipelines.domain.failures import Answered, Failure, Outage, TimeIsUp, Unexpected
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.retries import Retries
from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.saga.decisions import GiveUp, after_failure
from tenant_pipelines.saga.ledger import Begun, CancelRequested, SagaLedger
from tenant_pipelines.saga.step import Step
from tenant_pipelines.saga.work import Work, World

SLICE = 0.5
"""Seconds of a wait after which a cancel is looked for."""

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
    """

    step: Step
    side: Side
    ledger: SagaLedger
    world: World
    retries: Retries
    begun: Begun
    act: Callable[[Work], Outcome | Pending]
    tell: Callable[[str], None]
    _token: Mapping[str, str] | None = None
    _last: Failure | None = None

    def run(self) -> tuple[int, Outcome]:
        """Try until done; answers the number of the attempt that did it, and the outcome.

        Raises: GaveUp; Refused and CancelRequested from the fence.
        """
        attempt, answered = self.begun.attempt, self.begun.answered
        self._token = self.begun.token
        while True:
            try:
                return attempt, self._follow()
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
            self._wait_or_give_up(caught, attempt, answered)
            attempt = self.ledger.next_attempt(self.step, self.side)

    def _out_of_time(self) -> Failure:
        """The time is over before anything was sent: over the outage before it, where there was one."""
        if isinstance(self._last, Outage):
            return self._last
        return Outage("The step", f"was not done within {self.retries.one_attempt:g} s")

    def _wait_or_give_up(self, failure: Failure, attempt: int, answered: int) -> None:
        decision = after_failure(
            failure, self.retries, tries=attempt, answered=answered, seconds_left=self._seconds_left()
        )
        if isinstance(decision, GiveUp):
            raise GaveUp(failure, decision.because)
        self.tell(f"attempt {attempt}: {failure}; next in {decision.wait:g} s")
        self._pause(decision.wait)

    def _follow(self) -> Outcome:
        """One attempt, followed through everything that it has to wait for."""
        while True:
            outcome = self.act(self.work(self._token))
            if not isinstance(outcome, Pending):
                return outcome
            self._token = outcome.token
            self.ledger.wait(self.step, self.side, outcome.reason, outcome.token)
            if self._seconds_left() <= outcome.look_again_after:
                raise TimeIsUp("The step", f"is still waiting after {self.retries.all_attempts:g} s: {outcome.reason}")
            self._pause(outcome.look_again_after)

    def work(self, token: Mapping[str, str] | None) -> Work:
        """What the side is given for its next call, with a deadline that starts now."""
        clock = self.world.clock
        begun = self.begun
        seconds = min(self.retries.one_attempt, max(self._seconds_left(), 0.0))
        call = Call(
            key=":".join((str(begun.tenant.id), str(begun.keys_of), self.side, self.step.name)),
            deadline=clock.monotonic() + seconds,
            fence=lambda: self.ledger.fence(self.side),
            clock=clock.monotonic,
        )
        return Work(begun.tenant, begun.execution, begun.placement, begun.facts, token, call, self.world)

    def _seconds_left(self) -> float:
        until = self.begun.started_at + timedelta(seconds=self.retries.all_attempts)
        return (until - self.world.clock.now()).total_seconds()

    def _pause(self, seconds: float) -> None:
        """Sleep in slices; after each the fence is asked, so that a cancel is seen at once."""
        for _ in range(math.ceil(seconds / SLICE)):
            self.world.clock.sleep(min(SLICE, seconds))
            self.ledger.fence(self.side)
