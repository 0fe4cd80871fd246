"""Past the point of no return a workflow that has ended early goes on at its first step that is not done.

The tenant stays ACTIVE; a new execution takes over what is settled, and what is owed (the contract, verb restart).
"""

from uuid import UUID, uuid4

from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, Side, State, StepState
from tenant_pipelines.ledger.claims import PROVISION_ERRORS, Claimant, act, busy, remember
from tenant_pipelines.ledger.database import Database, Transaction
from tenant_pipelines.ledger.rows import execution_of
from tenant_pipelines.ledger.steps import open_steps
from tenant_pipelines.saga.catalogue import Catalogue

RESUMABLE = frozenset({State.FAILED, State.CANCELLED, State.TERMINATED})


def resume(database: Database, workflow_id: str, *, catalogue: Catalogue, claimant: Claimant) -> Execution:
    """Insert an execution that goes on where the newest one of the workflow has ended, with that one's input.

    The caller launches the run that has the execution's id, from the first open step on.

    Raises: Refused NOT_FOUND, BUSY; WRONG_STATE when the tenant was never ACTIVE, or nothing is left to be done.
    """
    run_id = uuid4()
    return execution_of(database.run(lambda tx: _resume(tx, workflow_id, run_id, catalogue, claimant)))


def _resume(tx: Transaction, workflow_id: str, run_id: UUID, catalogue: Catalogue, claimant: Claimant) -> DictRow:
    known = tx.one("newest_execution", workflow_id=workflow_id)
    if known is None:
        raise Refused(Code.NOT_FOUND, f"There is no workflow {workflow_id[:120]!r}.")
    status = Status(tx.only("lock_tenant", tenant_id=known["tenant_id"])["status"])
    running = tx.one("running_execution_of_tenant", tenant_id=known["tenant_id"])
    if running is not None and running["id"] == run_id:  # by this very call, whose answer was lost
        return running
    if running is not None:
        raise busy(running)
    ended = tx.only("newest_execution", workflow_id=workflow_id)  # as of now: nobody adds one while we hold the lock
    if status is not Status.ACTIVE or not _may_go_on(tx, ended, catalogue):
        raise Refused(
            Code.WRONG_STATE,
            f"Workflow {workflow_id} is {State(ended['state']).word} and its tenant {status.name}: there is no step "
            "past the activation to go on with.",
        )
    return _insert(tx, ended, run_id, catalogue, claimant)


def _may_go_on(tx: Transaction, ended: DictRow, catalogue: Catalogue) -> bool:
    """Whether it has passed the point of no return, has ended, and something is left to be done."""
    pivot = tx.one("step_of", execution_id=ended["id"], side=Side.DO, step=catalogue.pivot.name)
    passed = pivot is not None and pivot["state"] == StepState.DONE
    return State(ended["state"]) in RESUMABLE and passed and bool(open_steps(tx, ended["id"], catalogue))


def _insert(tx: Transaction, ended: DictRow, run_id: UUID, catalogue: Catalogue, claimant: Claimant) -> DictRow:
    taken_over = ("workflow_id", "workflow_type", "tenant_id", "tenant_key", "tier", "input")
    execution = tx.only(
        "insert_execution",
        id=run_id,
        catalogue_version=catalogue.version,
        requested_by=claimant.by,
        reason=claimant.reason,
        **{name: ended[name] for name in taken_over},
    )
    tx.do("insert_run", run_id=run_id, execution_id=run_id, kind="continuation")
    tx.do("copy_settled_steps", execution_id=run_id, resumed_id=ended["id"])
    for step in open_steps(tx, run_id, catalogue):
        tx.one("settle_owed", tenant_id=ended["tenant_id"], step=step)
    tx.do("set_metadata", tenant_id=ended["tenant_id"], drop=PROVISION_ERRORS, metadata={})
    resumed = {"by": claimant.by, "reason": claimant.reason, "resumes": str(ended["id"])}
    remember(tx, execution, "WorkflowExecutionStarted", details=resumed)
    act(tx, claimant, "restart", execution=execution, changes={"resumes": str(ended["id"])})
    return execution
