"""Pushes an execution on when whoever should have done so could not: the guarantee behind hooks and buttons."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tenant_pipelines.domain.journal import Marker, note_about, note_end
from tenant_pipelines.domain.workflow import Execution, Kind, State
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.runs import Launch, RunState

PAGE = 50
QUIET = 3.0
"""Seconds an execution's row must have rested before a sensor looks at it."""


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


def push_for(execution: Execution, run: RunState, now: datetime) -> Push:
    """The decision. `run`: how the Dagster run stands that may act for the execution."""
    match execution.state:
        case State.ROLLBACK_DUE:
            return Push.ROLL_BACK
        case State.ROLLING_BACK if execution.next_undo_at is not None:
            return Push.ROLL_BACK if execution.next_undo_at <= now and run is not RunState.ALIVE else Push.NOTHING
        case State.FORWARD if execution.waiting_until is not None:
            return Push.EXPIRE if execution.waiting_until <= now else Push.NOTHING
        case State.FORWARD | State.ROLLING_BACK:
            return _push_for_run(execution, run)
        case _:
            return Push.NOTHING


def _push_for_run(execution: Execution, run: RunState) -> Push:
    match run:
        case RunState.MISSING:
            return Push.LAUNCH
        case RunState.ALIVE:
            return Push.NOTHING
        case RunState.CANCELLED if execution.state is State.FORWARD:
            return Push.CANCEL
        case _:
            return Push.CONTINUE


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


def _relaunch(desk: Desk, execution: Execution) -> None:
    if execution.state is State.ROLLING_BACK:
        desk.runs.launch(Launch(execution.run_id, execution, Kind.ROLLBACK))
    elif execution.run_id == execution.id:
        desk.runs.launch(Launch(execution.run_id, execution, Kind.FORWARD))
    else:
        step = desk.ledger.first_open_step(execution.id, desk.provisioning)
        desk.runs.launch(Launch(execution.run_id, execution, Kind.CONTINUATION, step))


def _continue(desk: Desk, execution: Execution, by: str) -> None:
    replaced = desk.ledger.replace_lost_run(execution, desk.provisioning)
    if replaced is None:
        return
    note_end(desk.journal, replaced)
    if replaced.state is State.ROLLBACK_DUE:
        roll_back(desk, replaced, by=by)
    elif not replaced.state.closed:
        _relaunch(desk, replaced)


def _cancel(desk: Desk, execution: Execution, by: str) -> None:
    stopped = desk.ledger.stop_cancelled(execution, desk.provisioning, TERMINATED_IN_DAGSTER)
    if stopped is None:
        return
    note_end(desk.journal, stopped)
    if stopped.state is State.ROLLBACK_DUE:
        roll_back(desk, stopped, by=by)


def _expire(desk: Desk, execution: Execution) -> None:
    completed = desk.ledger.expire_confirmation(execution, desk.provisioning.last.name)
    if completed is not None:
        text = "completed without the app plane's confirmation, which stays pending"
        note_about(desk.journal, completed, Marker.COMPLETE, text)


def scan(desk: Desk, *, after: tuple[datetime, UUID], by: str) -> tuple[list[Push], tuple[datetime, UUID] | None]:
    """One page of the running executions; answers what was done, and the cursor, or None after the last page.

    One execution that cannot be pushed on does not stop the others: what it raises is raised after the page.
    """
    page = desk.ledger.unattended(quiet=QUIET, after=after, limit=PAGE)
    pushes: list[Push] = []
    errors: list[Exception] = []
    for execution in page:
        try:
            pushes.append(reconcile(desk, execution, by=by))
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(page)} executions could not be pushed on", errors)
    return pushes, (page[-1].updated_at, page[-1].id) if len(page) == PAGE else None
