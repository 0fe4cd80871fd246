"""Pushes an execution on when whoever should have done so could not: the guarantee behind hooks and buttons."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from tenant_pipelines.domain.journal import Marker, note_about, note_end
from tenant_pipelines.domain.retries import Retries
from tenant_pipelines.domain.workflow import Execution, Kind, State
from tenant_pipelines.ledger import waking
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.runs import Launch, RunState

PAGE = 50
QUIET = 3.0
"""Seconds an execution's row must have rested before a sensor looks at it."""


AT_ONCE = 2
"""Lost rollback runs in a row that are replaced without a pause; a step's do side fails with one more."""
PAUSES = Retries(attempts=1, first_wait=5.0, longest_wait=300.0, one_attempt=1.0, all_attempts=1.0)
"""Between further ones, of which a rollback may have any number: what kills them may be an error of our own."""

OVERDUE = 5.0
"""Seconds after its time when a parked execution is woken by whoever finds it, without a look."""

TERMINATED_IN_DAGSTER = Claimant("dagster-ui", "dagster-ui", "The run was terminated in Dagster")


class Push(StrEnum):
    """What an execution needs."""

    NOTHING = "nothing"
    LAUNCH = "launch"
    """Its run was recorded, and never made: the process died in between."""
    CONTINUE = "continue"
    """Its run has ended before its time: a lost worker."""
    CANCEL = "cancel"
    """Its run was terminated in Dagster: that is a cancel."""
    ROLL_BACK = "roll_back"
    EXPIRE = "expire"
    """The time for the app plane's confirmation is over."""
    WAKE = "wake"
    """It is parked, and whoever wakes parked executions in time does not."""


def push_for(execution: Execution, run: RunState, now: datetime) -> Push:
    """The decision. `run`: how the Dagster run stands that may act for the execution."""
    if execution.parked:
        return _push_for_parked(execution, run, now)
    match execution.state:
        case State.ROLLBACK_DUE:
            return Push.ROLL_BACK
        case State.ROLLING_BACK if execution.next_undo_at is not None:
            return Push.ROLL_BACK if execution.next_undo_at <= now and run is not RunState.ALIVE else Push.NOTHING
        case State.FORWARD if execution.waiting_until is not None:
            return Push.EXPIRE if execution.waiting_until <= now else Push.NOTHING
        case State.FORWARD | State.ROLLING_BACK:
            return _push_for_run(execution, run, now)
        case _:
            return Push.NOTHING


def _push_for_parked(execution: Execution, run: RunState, now: datetime) -> Push:
    """Its run has ended with the parking; unless somebody has cancelled it in Dagster at that moment."""
    if run is RunState.CANCELLED and execution.state is State.FORWARD:
        return Push.CANCEL
    overdue = execution.wake_at is not None and execution.wake_at + timedelta(seconds=OVERDUE) <= now
    return Push.WAKE if overdue else Push.NOTHING


def pauses(execution: Execution, now: datetime) -> bool:
    """Whether a rollback that loses one run after the other is to wait before it is given the next one."""
    if execution.state is not State.ROLLING_BACK or execution.losses < AT_ONCE:
        return False
    return now < execution.updated_at + timedelta(seconds=PAUSES.wait_before(execution.losses))


def _push_for_run(execution: Execution, run: RunState, now: datetime) -> Push:
    match run:
        case RunState.MISSING:
            return Push.LAUNCH
        case RunState.ALIVE:
            return Push.NOTHING
        case RunState.CANCELLED if execution.state is State.FORWARD:
            return Push.CANCEL
        case _:
            return Push.NOTHING if pauses(execution, now) else Push.CONTINUE


def reconcile(desk: Desk, execution: Execution, *, by: str) -> Push:
    """Look at one execution and push it on where it needs it; harmless when others do the same at once."""
    push = push_for(execution, desk.runs.state(execution.run_id), desk.clock.now())
    match push:
        case Push.LAUNCH:
            _relaunch(desk, execution)
        case Push.CONTINUE:
            _continue(desk, execution, by)
        case Push.CANCEL:
            _cancel(desk, execution, by)
        case Push.ROLL_BACK:
            roll_back(desk, execution, by=by)
        case Push.EXPIRE:
            _expire(desk, execution)
        case Push.WAKE:
            wake(desk, execution, by=by)
        case Push.NOTHING:
            pass
    return push


def roll_back(desk: Desk, execution: Execution, *, by: str) -> bool:
    """Claim the rollback that is due and launch it; False when somebody else has."""
    claimed = desk.ledger.claim_rollback(execution.id, by=by)
    if claimed is None:
        return False
    note_about(desk.journal, claimed, Marker.ROLLBACK, f"claimed by {by}")
    desk.runs.launch(Launch(claimed.run_id, claimed, Kind.ROLLBACK))
    return True


def roll_back_of_run(desk: Desk, run_id: UUID, *, by: str) -> bool:
    """The failure hook's way: only for the execution that this run is recorded for, and only if its rollback is due."""
    execution = desk.ledger.execution_of_run(run_id)
    if execution is None or execution.run_id != run_id or execution.state is not State.ROLLBACK_DUE:
        return False
    return roll_back(desk, execution, by=by)


def wake(desk: Desk, execution: Execution, *, by: str) -> bool:
    """Claim the run that goes on where the execution has parked, and launch it; False when somebody else has.

    A cancelled one takes no further step: its forward side ends here, without a run.
    """
    if _is_cancelled(desk, execution):
        return _cancel(desk, execution, by)
    woken = waking.wake(desk.ledger.database, execution)
    if woken is None:
        return False
    forward = woken.state is State.FORWARD
    text = f"{execution.parked_step} goes on after its wait, woken by {by}"
    note_about(desk.journal, woken, Marker.STEP if forward else Marker.ROLLBACK, text)
    _relaunch(desk, woken)
    return True


def _is_cancelled(desk: Desk, execution: Execution) -> bool:
    if execution.state is not State.FORWARD:
        return False
    return execution.cancel_requested_by is not None or desk.runs.state(execution.run_id) is RunState.CANCELLED


def _relaunch(desk: Desk, execution: Execution) -> None:
    parked = waking.parked_before(desk.ledger.database, execution.run_id)
    if execution.state is State.ROLLING_BACK:
        desk.runs.launch(Launch(execution.run_id, execution, Kind.ROLLBACK, parked, parked))
    elif execution.run_id == execution.id:
        desk.runs.launch(Launch(execution.run_id, execution, Kind.FORWARD))
    else:
        step = desk.ledger.first_open_step(execution.id, desk.provisioning)
        desk.runs.launch(Launch(execution.run_id, execution, Kind.CONTINUATION, step, parked))


def _continue(desk: Desk, execution: Execution, by: str) -> None:
    replaced = take_over(desk, execution, Push.CONTINUE)
    if replaced is not None and replaced.state is State.ROLLBACK_DUE:
        roll_back(desk, replaced, by=by)
    elif replaced is not None and not replaced.state.closed:
        _relaunch(desk, replaced)


def _cancel(desk: Desk, execution: Execution, by: str) -> bool:
    stopped = take_over(desk, execution, Push.CANCEL)
    if stopped is not None and stopped.state is State.ROLLBACK_DUE:
        roll_back(desk, stopped, by=by)
    return stopped is not None


def take_over(desk: Desk, execution: Execution, push: Push) -> Execution | None:
    """Its run is gone: record who goes on, or that it was cancelled. Launches nothing; None when somebody else has."""
    if push is Push.CONTINUE:
        taken = desk.ledger.replace_lost_run(execution, desk.provisioning)
    elif push is Push.CANCEL:
        taken = desk.ledger.stop_cancelled(execution, desk.provisioning, TERMINATED_IN_DAGSTER)
    else:
        return None
    if taken is not None:
        note_end(desk.journal, taken)
    return taken


def _expire(desk: Desk, execution: Execution) -> None:
    completed = desk.ledger.expire_confirmation(execution, desk.provisioning.last.name)
    if completed is not None:
        text = "completed without the app plane's confirmation, which stays pending"
        note_about(desk.journal, completed, Marker.COMPLETE, text)


@dataclass(frozen=True, slots=True)
class Scanned:
    """What came of a page. Args: errors: of those that could not be pushed on. cursor: None after the last page."""

    pushes: Sequence[Push]
    errors: Sequence[Exception]
    cursor: tuple[datetime, UUID] | None


def scan(desk: Desk, *, after: tuple[datetime, UUID], by: str) -> Scanned:
    """One page of the running executions. One that cannot be pushed on stops neither the others nor the next page."""
    page = desk.ledger.unattended(quiet=QUIET, after=after, limit=PAGE)
    pushes: list[Push] = []
    errors: list[Exception] = []
    for execution in page:
        try:
            pushes.append(reconcile(desk, execution, by=by))
        except Exception as error:
            errors.append(error)
    return Scanned(pushes, errors, (page[-1].updated_at, page[-1].id) if len(page) == PAGE else None)
