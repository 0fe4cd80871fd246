"""What the engine asks of the ledger. Every method is one transaction, and safe to repeat after a lost answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.failures import Failure
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution, Leftover, Side, StepState
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step


class CancelRequested(Exception):
    """Somebody has asked for a cancel: the step stops where it is, and the forward side ends."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The step's intent is durable; its effect may begin, or go on.

    Args:
        answered: errors that the system answered so far, in earlier runs too.
        started_at: when the step was first begun: "all attempts" counts from here.
        attempt: number of the attempt that has been opened.
        keys_of: the generation whose idempotency keys the execution uses: its own, or that of the one it resumes.
        last_error: what the attempt before came to, where there was one and it failed.
    """

    execution: Execution
    tenant: Tenant
    placement: Mapping[str, str]
    facts: Mapping[str, str]
    token: Mapping[str, str] | None
    started_at: datetime
    answered: int
    attempt: int
    keys_of: int
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """There is nothing to do on this side of the step (any more): done before, skipped, owed, or never begun."""

    state: StepState
    found: Sequence[ObjectRef]


@dataclass(frozen=True, slots=True)
class Rest:
    """A wait that no worker is held for.

    Args:
        reason: what is waited for, for people.
        wake_in: seconds until it is looked at again.
        look_every: seconds between two looks of the step's `look` side, at least.
        until: the end of the step's time for all attempts.
        token: finds again what goes on outside; None when the step begins anew.
        attempt: the one that is open, or None.
    """

    reason: str
    wake_in: float
    look_every: float
    until: datetime
    token: Mapping[str, str] | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """The execution waits at this step, and no run may act for it until it is woken.

    Args: execution_id: the workflow's run id. since, wake_at: by the database's clock. reason: what is waited for.
    """

    execution_id: UUID
    workflow_id: str
    step: str
    side: Side
    since: datetime
    wake_at: datetime
    reason: str


class Wanted(StrEnum):
    """Who wants the worker of a run whose step waits."""

    BY_NOBODY = "by nobody"
    BY_OTHERS = "by others"
    """Runs have waited for a worker for more than a second: there is none that has nothing to do."""
    BY_POOL = "by the pool"
    """It is to be rid of the run in any case, as for a deploy."""


class Verdict(StrEnum):
    """What the failure of a step means for its execution."""

    ROLLBACK_DUE = "rollback_due"
    CLOSED = "closed"
    OWED = "owed"


@dataclass(frozen=True, slots=True)
class UndoReport:
    """How the undo sides of an execution stand.

    Args:
        failing: the steps whose undo failed, by name, with the error.
        failing_since: when the first of them failed first.
        sweep_until: until when a lost call may still take effect whose undo has looked before then; None when every
            undo has had its last look after that, or no call was lost.
    """

    failing: Mapping[str, str]
    failing_since: datetime | None
    sweep_until: datetime | None


class SagaLedger(Protocol):
    """The ledger, as one Dagster run of one execution sees it."""

    def begin(self, step: Step, side: Side, names: Callable[[Tenant], Mapping[str, str]]) -> Begun | Settled | Parked:
        """Claim or join, check that this run may act, and make the intent durable.

        Parked when the run is to be handed over to another worker: the step has not been begun by it.

        Raises: Refused when the run may not act; CancelRequested on the do side.
        """
        ...

    def fence(self, side: Side) -> None:
        """Raises Refused or CancelRequested when the run may not write (any longer)."""
        ...

    def worker_wanted(self, side: Side) -> Wanted:
        """Who wants this run's worker back, asked while the step waits.

        Raises: as `fence`.
        """
        ...

    def next_attempt(self, step: Step, side: Side) -> int: ...

    def end_attempt(self, step: Step, side: Side, attempt: int, failure: Failure | None) -> None:
        """The attempt has ended without the effect: with a failure, or (None) because the run had to stop."""
        ...

    def wait(self, step: Step, side: Side, reason: str, token: Mapping[str, str]) -> None: ...

    def park(self, step: Step, side: Side, rest: Rest) -> Parked:
        """The step waits from now on, and this run may not act any longer.

        Raises: Refused when the run may not act; CancelRequested on the do side.
        """
        ...

    def finish(self, step: Step, attempt: int, outcome: Done | AwaitingSignal) -> None:
        """The effect is there: record it; past the last step close the execution."""
        ...

    def fail(self, step: Step, failure: Failure, error: str) -> Verdict: ...

    def stop_for_cancel(self, step: Step) -> Verdict: ...

    def undone(self, step: Step, attempt: int) -> None: ...

    def undo_failed(self, step: Step, failure: Failure, error: str, left: Sequence[Leftover]) -> None: ...

    def undo_report(self) -> UndoReport: ...

    def rollback_again_at(self, at: datetime, because: str) -> None:
        """The rollback is not finished; it is started once more at this time."""
        ...

    def close_rollback(self) -> None:
        """Nothing more can be undone: the tenant's status, the list of what is left, and the end of the execution."""
        ...
