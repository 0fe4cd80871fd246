"""The engine's decisions, as plain functions: what follows from a failure, and how a rollback ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenant_pipelines.domain.failures import Answered, Failure, Outage
from tenant_pipelines.domain.retries import Retries
from tenant_pipelines.saga.ledger import UndoReport, Wanted

LONGEST_BETWEEN_LOOKS = 30.0
"""Seconds; longer only where a system asks for it."""


WORTH_PARKING = 1.0
"""Seconds of a wait; for less the worker of a run that sleeps is of little use to others: the next run would cost more
than it would have waited."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """After this many seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The step has failed, and why it is not tried again."""

    because: str


def after_failure(
    failure: Failure, policy: Retries, *, tries: int, answered: int, seconds_left: float
) -> TryAgain | GiveUp:
    """Whether the step is tried again.

    Args:
        tries: attempts made so far. answered: of these, errors that the system answered.
        seconds_left: of the time for all attempts.
    """
    if not failure.retried:
        return GiveUp("not retried")
    if isinstance(failure, Answered) and answered >= policy.attempts:
        return GiveUp(f"after {answered} attempts")
    wait = policy.wait_before(tries + 1)
    if isinstance(failure, Outage) and failure.retry_after is not None:
        wait = max(failure.retry_after, min(wait, policy.first_wait))
    if wait >= seconds_left:
        return GiveUp(f"after {tries} tries in {policy.all_attempts:g} s")
    return TryAgain(wait)


def gives_worker_back(wanted: Wanted, left: float) -> bool:
    """Whether a run that sleeps parks at once. Args: left: seconds of its wait."""
    return wanted is Wanted.BY_POOL or (wanted is Wanted.BY_OTHERS and left >= WORTH_PARKING)


def between_looks(every: float, *, waited: float) -> float:
    """Seconds until the next look at what goes on outside: the longer it has gone on, the less often.

    So the look that finds it over comes at most a tenth of the wait late, and a thousand waits that are long are looked
    at thirty times a second.

    Args: every: what the system asks for. waited: seconds so far.
    """
    return max(every, min(waited / 10, LONGEST_BETWEEN_LOOKS))


@dataclass(frozen=True, slots=True)
class Close:
    """The rollback is over; these undo sides could not be finished."""

    unfinished: Sequence[str]


@dataclass(frozen=True, slots=True)
class Again:
    """The rollback goes on at this time."""

    at: datetime
    because: str


def after_undo(report: UndoReport, *, now: datetime, every: float, give_up_after: float) -> Close | Again:
    """How a rollback ends whose undo sides have all been tried.

    Args: every, give_up_after: seconds, the settings undo_retry_every and undo_retry_for.
    """
    retrying = bool(report.failing) and (
        report.failing_since is None or now < report.failing_since + timedelta(seconds=give_up_after)
    )
    if retrying:
        return Again(now + timedelta(seconds=every), f"not undone yet: {', '.join(report.failing)}")
    if report.sweep_until is not None:
        return Again(max(now, report.sweep_until), "a call without an answer may still take effect")
    return Close(list(report.failing))
