"""The Dagster jobs made from the catalogue: `provision_tenant`, and `rollback_tenant` with the undo sides reversed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster
from dagster import (
    ConfigMapping,
    DependencyDefinition,
    Failure,
    Field,
    GraphDefinition,
    HookContext,
    In,
    JobDefinition,
    MetadataValue,
    NodeInvocation,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    Output,
    failure_hook,
    op,
)

from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import UNDO, Side
from tenant_pipelines.operations.requests import uuid_of
from tenant_pipelines.operations.signal import CANCELLED
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.provisioning.in_turn import in_turn
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.decisions import Again
from tenant_pipelines.saga.engine import StepCancelled, StepFailed, Taken, TakenBack
from tenant_pipelines.saga.ledger import Parked
from tenant_pipelines.saga.step import Step

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
"""Dagster's events are in its storage, and our markers in our own log: nobody reads them a third time on stderr."""

SAGA = "saga"
"""The resource that gives a run its engine."""

DONE, WAITS = "result", "waits"
"""What an op answers: the next one begins; or the rest of the run is skipped, since nothing follows a wait."""
OUTS = {name: Out(Nothing, is_required=False) for name in (DONE, WAITS)}

Answers = Iterator[Output[None]]


@failure_hook(required_resource_keys={SAGA})
def start_rollback(context: HookContext) -> None:
    """The fast path to a rollback; the guard sensor is the guarantee."""
    context.resources.saga.roll_back_of_run(context.run_id)


def forward_op(step: Step) -> OpDefinition:
    """The op that takes one step forward."""

    @op(
        name=f"do_{step.name}",
        description=f"Step {step.number}: {step.activity}",
        tags={"step": str(step.number), "activity": step.activity},
        ins={"start": In(Nothing)},
        out=OUTS,
        config_schema={"tenant_id": str},
        required_resource_keys={SAGA},
    )
    def take(context: OpExecutionContext) -> Answers:
        try:
            taken = context.resources.saga.forward(step, context)
        except Refused as refused:
            raise _refusal(context, refused) from None
        except (StepFailed, StepCancelled) as failed:
            # From None: Dagster would store the whole chain of causes, and a client library's words may hold anything.
            raise Failure(str(failed), allow_retries=False) from None
        yield _waits(taken) if isinstance(taken, Parked) else Output(None, DONE, metadata=_shown(taken))

    return take


def backward_op(step: Step) -> OpDefinition:
    """The op that undoes one step; that of the first step ends the rollback."""

    @op(
        name=f"take_back_{step.name}",
        description=f"Undo of step {step.number}: {step.undo_activity}",
        tags={"step": str(step.number), "activity": step.undo_activity or ""},
        ins={"start": In(Nothing)},
        out=OUTS,
        config_schema={"tenant_id": str},
        required_resource_keys={SAGA},
    )
    def take_back(context: OpExecutionContext) -> Answers:
        try:
            answer = _conclude(context) if step.number == 1 else _undo(step, context)
        except Refused as refused:
            raise _refusal(context, refused) from None
        yield answer

    return take_back


def _conclude(context: OpExecutionContext) -> Output[None]:
    decision = context.resources.saga.conclude(context)
    if isinstance(decision, Again):
        shown = {"state": "waiting", "waits_for": decision.because, "goes_on_at": _in_utc(decision.at)}
        return Output(None, WAITS, metadata=shown)
    return Output(None, DONE, metadata={"left_behind": ", ".join(decision.unfinished) or "nothing"})


def _undo(step: Step, context: OpExecutionContext) -> Output[None]:
    taken = context.resources.saga.backward(step, context)
    if isinstance(taken, Parked):
        return _waits(taken)
    if taken.error:
        context.log.error(taken.error)
    return Output(None, DONE, metadata=_shown_undone(taken))


def _waits(parked: Parked) -> Output[None]:
    """The last word of a run that ends here: another one goes on when it is time."""
    shown = {
        "state": "waiting",
        "waits_for": parked.reason,
        "since": _in_utc(parked.since),
        "looked_at_again": _in_utc(parked.wake_at),
    }
    if parked.side is Side.DO:
        shown["to_cancel"] = f"tenant-pipelines workflow signal {parked.workflow_id} {CANCELLED}"
    return Output(None, WAITS, metadata=shown)


def _in_utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _refusal(context: OpExecutionContext, refused: Refused) -> Failure:
    if refused.code is Code.UNAVAILABLE:  # this run may act, and could not: the guard continues it elsewhere
        return Failure(refused.message, allow_retries=False)
    context.instance.add_run_tags(context.run_id, {"refused": refused.code.value})
    return Failure(refused.message, metadata={"refused": refused.code.value}, allow_retries=False)


def _shown(taken: Taken) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"state": taken.state.value}
    for ensured in taken.found:
        ref = ensured.ref
        shown[f"{ref.kind} {ref.name} ({type(ensured).__name__})"] = _value(ref)
    if taken.note:
        shown["owed"] = taken.note
    return shown


def _shown_undone(taken: TakenBack) -> Mapping[str, Any]:
    shown: dict[str, Any] = {"state": taken.state.value}
    for removal in taken.removals:
        shown[f"{removal.ref.kind} {removal.ref.name}"] = type(removal).__name__
    if taken.error:
        shown["error"] = taken.error
    return shown


def _value(ref: ObjectRef) -> MetadataValue[Any]:
    return MetadataValue.url(ref.url) if ref.url else MetadataValue.text(ref.id)


def _job(name: str, description: str, ops: Sequence[tuple[str, OpDefinition]], *, hooked: bool) -> JobDefinition:
    dependencies: dict[NodeInvocation, Mapping[str, DependencyDefinition]] = {}
    before: str | None = None
    for node, definition in ops:
        start = {"start": DependencyDefinition(before)} if before else {}
        dependencies[NodeInvocation(definition.name, alias=node)] = start
        before = node
    graph = GraphDefinition(name, node_defs=[definition for _, definition in ops], dependencies=dependencies)
    nodes = [node for node, _ in ops]
    return graph.to_job(
        name=name,
        description=description,
        config=ConfigMapping(
            config_schema={"tenant_id": Field(dagster.Any, description="The tenant's id, a UUID")},
            config_fn=lambda given: _config(given, nodes),
        ),
        executor_def=in_turn,
        hooks={start_rollback} if hooked else None,
    )


def _config(given: Mapping[str, Any], nodes: Sequence[str]) -> Mapping[str, Any]:
    """Any value is let in to here, because Dagster's own refusal would repeat it."""
    tenant_id = str(uuid_of(given["tenant_id"], "tenant_id"))
    return {"ops": {node: {"config": {"tenant_id": tenant_id}} for node in nodes}, "loggers": QUIET}


def provision_job(catalogue: Catalogue = PROVISIONING) -> JobDefinition:
    """`provision_tenant`: a node for each step, under the contract's names."""
    return _job(
        "provision_tenant",
        "Creates everything a tenant needs. Run config: the tenant's id, nothing else.",
        [(step.name, forward_op(step)) for step in catalogue.steps],
        hooked=True,
    )


def rollback_job(catalogue: Catalogue = PROVISIONING) -> JobDefinition:
    """`rollback_tenant`: the undo sides of the steps before the pivot, last one first."""
    return _job(
        "rollback_tenant",
        "Undoes what a provisioning had begun. Started by the failure hook and the guard sensor, never by hand.",
        [(f"{UNDO}{step.name}", backward_op(step)) for step in reversed(catalogue.before_pivot)],
        hooked=False,
    )
