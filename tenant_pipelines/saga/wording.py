"""The sentences that operators read about a failure: what, why, way out."""

from tenant_pipelines.domain.failures import Failure, TimeIsUp
from tenant_pipelines.domain.tenant import Status, Tenant
from tenant_pipelines.domain.workflow import Side
from tenant_pipelines.saga.step import Step


def error_of(step: Step, side: Side, tenant: Tenant, failure: Failure, because: str) -> str:
    """The whole message, with the runbook's symptom in it."""
    symptom = (step.undo_symptom or f"Failed to undo {step.name}") if side is Side.UNDO else step.symptom
    what = f"{symptom}: {failure.system} {failure.what} ({failure.code}, {because})."
    next_step = then(tenant.key, active=tenant.status is Status.ACTIVE)
    return f"{what}\nWay out: {failure.way_out or _way_out(failure)}\nThen: {next_step}"


def _way_out(failure: Failure) -> str:
    if isinstance(failure, TimeIsUp):
        return "see in the workflow's history what was waited for"
    if failure.retried:
        return f"check that {failure.system} is up and answers"
    return f"mend what {failure.system} reports"


def then(key: str, *, active: bool) -> str:
    """What takes a failed workflow further, once the cause is mended."""
    if active:
        return "restart the workflow: it resumes at this step"
    return f"tenant-pipelines tenant provision {key}"
