"""The sentences that operators read about a failure: what, why, way out."""

from tenant_pipelines.domain.failures import Failure
from tenant_pipelines.domain.workflow import Execution, Side
from tenant_pipelines.saga.step import Step


def error_of(step: Step, side: Side, execution: Execution, failure: Failure, because: str) -> str:
    """The whole message, with the runbook's symptom in it."""
    symptom = (step.undo_symptom or f"Failed to undo {step.name}") if side is Side.UNDO else step.symptom
    what = f"{symptom}: {failure.system} {failure.what} ({failure.code}, {because})."
    return f"{what}\nWay out: {failure.way_out or _way_out(failure)}\nThen: {_restart(execution)}"


def _way_out(failure: Failure) -> str:
    if failure.retried:
        return f"check that {failure.system} is up and answers"
    return f"mend what {failure.system} reports"


def _restart(execution: Execution) -> str:
    return f"tenant-pipelines workflow restart {execution.workflow_id}"
