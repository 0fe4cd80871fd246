"""The Dagster jobs made from the catalogue: `provision_tenant`, and `rollback_tenant` with the undo sides reversed."""

from collections.abc import Mapping, Sequence
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
    failure_hook,
    in_process_executor,
    op,
)

from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.operations.requests import uuid_of
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.decisions import Again
from tenant_pipelines.saga.engine import StepCancelled, StepFailed, Taken, TakenBack
from tenant_pipelines.saga.step import Step

SAGA = "saga"
"""The resource that gives a run its engine."""

UNDO = "undo_"


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
        out=Out(Nothing),
        config_schema={"tenant_id": str},
        required_resource_keys={SAGA},
    )
    def take(context: OpExecutionContext) -> None:
        try:
            taken = context.resources.saga.forward(step, context)
        except Refused as refused:
            raise _refusal(context, refused) from None
        except (StepFailed, StepCancelled) as failed:
            # From None: Dagster would store the whole chain of causes, and a client library's words may hold anything.
            raise Failure(str(failed), allow_retries=False) from None
        _show(context, taken)

    return take


def backward_op(step: Step) -> OpDefinition:
    """The op that undoes one step; that of the first step ends the rollback."""

    @op(
        name=f"take_back_{step.name}",
        description=f"Undo of step {step.number}: {step.undo_activity}",
        tags={"step": str(step.number), "activity": step.undo_activity or ""},
        ins={"start": In(Nothing)},
        out=Out(Nothing),
        config_schema={"tenant_id": str},
        required_resource_keys={SAGA},
    )
    def take_back(context: OpExecutionContext) -> None:
        try:
            if step.number == 1:
                _conclude(context)
            else:
                _show_undone(context, context.resources.saga.backward(step, context))
        except Refused as refused:
            raise _refusal(context, refused) from None

    return take_back


def _conclude(context: OpExecutionContext) -> None:
    decision = context.resources.saga.conclude(context)
    if isinstance(decision, Again):
        raise Failure(f"The rollback goes on at {decision.at:%H:%M:%S} UTC: {decision.because}", allow_retries=False)
    context.add_output_metadata({"left_behind": ", ".join(decision.unfinished) or "nothing"})


def _refusal(context: OpExecutionContext, refused: Refused) -> Failure:
    if refused.code is Code.UNAVAILABLE:  # this run may act, and could not: the guard continues it elsewhere
        return Failure(refused.message, allow_retries=False)
    context.instance.add_run_tags(context.run_id, {"refused": refused.code.value})
    return Failure(refused.message, metadata={"refused": refused.code.value}, allow_retries=False)


def _show(context: OpExecutionContext, taken: Taken) -> None:
    shown: dict[str, Any] = {"state": taken.state.value}
    for ensured in taken.found:
        ref = ensured.ref
        shown[f"{ref.kind} {ref.name} ({type(ensured).__name__})"] = _value(ref)
    if taken.note:
        shown["owed"] = taken.note
    context.add_output_metadata(shown)


def _show_undone(context: OpExecutionContext, taken: TakenBack) -> None:
    shown: dict[str, Any] = {"state": taken.state.value}
    for removal in taken.removals:
        shown[f"{removal.ref.kind} {removal.ref.name}"] = type(removal).__name__
    if taken.error:
        context.log.error(taken.error)
        shown["error"] = taken.error
    context.add_output_metadata(shown)


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
        executor_def=in_process_executor,
        hooks={start_rollback} if hooked else None,
    )


def _config(given: Mapping[str, Any], nodes: Sequence[str]) -> Mapping[str, Any]:
    """Any value is let in to here, because Dagster's own refusal would repeat it."""
    tenant_id = str(uuid_of(given["tenant_id"], "tenant_id"))
    return {"ops": {node: {"config": {"tenant_id": tenant_id}} for node in nodes}}


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
