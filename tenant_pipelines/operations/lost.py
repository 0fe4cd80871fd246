"""Runs whose worker was lost: their executions go on elsewhere. Used by the waker at once, and by the guard.

For each: the execution is taken over (a compare-and-set, which also counts the loss), the lost run is closed in
Dagster, what goes on is launched, and the row is settled last. Whoever dies in between leaves the row, and the next
one finds done what is done.
"""

from uuid import UUID

from tenant_pipelines.domain.journal import Marker, note_about
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.launches import Launches, Row
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import push_for, reconcile, take_over

BY_HAND = Claimant("dagster-ui", "dagster-ui")
"""Who is named when a run that no operation has recorded claims its execution: it was launched in Dagster itself."""


def continue_lost_workers(desk: Desk, *, by: str) -> int:
    """See to every lost run; answers how many there were. One that fails does not stop the others.

    Raises: ExceptionGroup of what went wrong, after all of them.
    """
    queue = Launches(desk.ledger.database)
    rows, errors = queue.lost(), list[Exception]()
    for row in rows:
        try:
            continue_lost(desk, queue, row, by=by)
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(rows)} lost runs could not be continued", errors)
    return len(rows)


def continue_lost(desk: Desk, queue: Launches, row: Row, *, by: str) -> None:
    """See to one lost run."""
    execution = desk.ledger.execution_of_run(row.run_id)
    if execution is None:
        execution = _claimed_for(desk, queue, row)
        if execution is None:
            return
    if execution.run_id == row.run_id:
        push = push_for(execution, desk.runs.state(row.run_id), desk.clock.now())
        execution = take_over(desk, execution, push) or desk.ledger.execution_of_run(row.run_id) or execution
    desk.runs.close_lost(row.run_id, f"{_lost(row)}; {_what_follows(execution, row)}.")
    reconcile(desk, execution, by=by)
    queue.settle_lost(row.run_id)


def _claimed_for(desk: Desk, queue: Launches, row: Row) -> Execution | None:
    """The execution of a run that was launched by hand and has not claimed one yet; None when it is to have none.

    A run that has not begun goes back into the queue, for another worker. Dagster lets none begin a second time: for
    one that had begun we claim what its first step was about to claim, so that a launch once accepted is carried out;
    and because each further loss is counted then, a run that kills its workers does not do so for ever.
    """
    asked = desk.runs.asked(row.run_id)
    if asked is None or asked.over:
        queue.settle_lost(row.run_id)
        return None
    if not asked.begun:
        queue.put_back(row.run_id)
        return None
    try:
        if asked.tenant_id is not None:
            return _claim(desk, row, asked.tenant_id)
        why = "it belongs to no workflow, and is not continued. Way out: launch it again"
    except Refused as refused:
        why = f"it had not begun a workflow yet, and cannot now: {refused.message}"
    desk.runs.close_lost(row.run_id, f"{_lost(row)}; {why}.")
    queue.settle_lost(row.run_id)
    return None


def _claim(desk: Desk, row: Row, tenant_id: UUID) -> Execution:
    claimed = desk.ledger.claim_provision(
        tenant_id,
        version=desk.provisioning.version,
        claimant=BY_HAND,
        given={"tenantId": str(tenant_id)},
        run_id=row.run_id,
    )
    text = f"Provisioning of tenant {claimed.tenant_key} by {BY_HAND.by}, whose run has lost its worker"
    note_about(desk.journal, claimed, Marker.START, text)
    return claimed


def _lost(row: Row) -> str:
    return f"Its worker (pid {row.worker_pid}) was lost"


def _what_follows(execution: Execution, row: Row) -> str:
    if execution.state.closed:
        return f"the workflow {execution.workflow_id} is {execution.state.word}"
    if execution.state is State.ROLLBACK_DUE:
        return "the workflow is rolled back"
    if execution.run_id != row.run_id:
        return f"the workflow goes on in run {execution.run_id}"
    return "the workflow goes on in another run, when it is time"
