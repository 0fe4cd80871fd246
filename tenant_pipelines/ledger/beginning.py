"""How a side of a step begins: whether there is anything to do, and the intent."""

from collections.abc import Callable, Mapping

from psycopg.rows import DictRow

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Tenant, Tier
from tenant_pipelines.domain.workflow import Side, StepState
from tenant_pipelines.ledger.rows import execution_of, tenant_of
from tenant_pipelines.ledger.steps import Entry
from tenant_pipelines.saga.ledger import Begun

Names = Callable[[Tenant], Mapping[str, str]]


def applies(entry: Entry, before: DictRow) -> bool:
    """Whether there is anything to do on this side of the step. `before`: what `Entry.before` has answered.

    Raises: Refused WRONG_STATE when a step before it is not done.
    """
    step = entry.step
    if entry.side is Side.UNDO:
        return step.has_undo and before["done"] not in {None, StepState.SKIPPED}
    if before["settled"] < step.number - 1:
        raise Refused(
            Code.WRONG_STATE,
            f"Step {step.name} cannot be taken: only {before['settled']} of the {step.number - 1} steps before it are "
            "done.",
        )
    return step.for_tier(Tier(entry.execution["tier"]))


def start(entry: Entry, names: Names, before: DictRow) -> Begun | None:
    """The intent, with the names that do and undo will use; None as of `Entry.start`.

    Args: before: what `Entry.before` has answered.
    """
    execution = execution_of(entry.execution)
    step, tenant, kept = entry.step, tenant_of(before), before["names"] or {}
    placement = {**names(tenant), **kept}
    if entry.side is Side.DO:
        started = entry.start(step.activity, placement if placement != kept else None)
    else:
        started = entry.start(f"Rolling back: {step.undo_activity or step.name}", None)
    if started is None:
        return None
    facts: dict[str, str] = {}
    for of_a_step in before["facts"] or ():
        facts |= of_a_step
    return Begun(
        execution=execution,
        tenant=tenant,
        placement=placement,
        facts=facts,
        token=started["token"],
        started_at=started["started_at"],
        answered=started["answered"],
        attempt=started["attempt"],
        keys_of=before["keys_of"],
        last_error=before["error"],
    )
