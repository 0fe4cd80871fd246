"""The commands `workflow list|show|signal`."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import typer

from tenant_pipelines.cli import door
from tenant_pipelines.cli.door import say, show_table
from tenant_pipelines.cli.output import USAGE, Failed, Json, show_json

if TYPE_CHECKING:
    from tenant_pipelines.domain.workflow import Execution

app = typer.Typer(help="Look at workflows, and send them signals.", no_args_is_help=True)

WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW", help="As provision-tenant-<tenant id>.")]


@app.command("list")
def list_workflows(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    archived: Annotated[bool, typer.Option("--archived", help="Those that were moved to the archive.")] = False,
    json: Json = False,
) -> None:
    """List executions, newest first."""
    from tenant_pipelines.ledger.archive import Archive

    with door.reading() as desk:
        ledger = Archive(desk.ledger.database) if archived else desk.ledger
        found = ledger.executions(limit=limit)
    if json:
        show_json({"data": [_as_json(execution) for execution in found]})
        return
    rows = [
        (
            execution.workflow_id,
            execution.tenant_key,
            execution.state.word,
            execution.failed_step or execution.step or "-",
            str(execution.progress),
            str(execution.id),
        )
        for execution in found
    ]
    show_table("workflow", "tenant", "status", "step", "%", "run", rows=rows)


@app.command()
def show(
    workflow: WorkflowId,
    *,
    run: Annotated[UUID | None, typer.Option(help="The run id of another execution than the newest.")] = None,
    json: Json = False,
) -> None:
    """Show the newest execution of a workflow, or another one, with its history; from the archive where it is there."""
    from tenant_pipelines.operations import looking

    with door.reading() as desk:
        shown = looking.show(desk, workflow, run)
    execution, history = shown.execution, shown.history
    document = _as_json(execution) | {"result": execution.result, "archived": shown.archived}
    if json:
        show_json(document | {"history": history})
        return
    for field, value in document.items():
        say(f"{field}: {_told(value) if field == 'parked' else value}")
    rows = [
        (
            str(event["event_id"]),
            f"{event['at']:%H:%M:%S.%f}",
            event["type"],
            event["step"] or "",
            str(event["attempt"] or ""),
        )
        for event in history
    ]
    show_table("#", "time", "event", "step", "attempt", rows=rows)


@app.command()
def signal(
    workflow: WorkflowId,
    name: Annotated[str, typer.Argument(help="appPlaneProvisioned or provisioningCancelled.")],
    *,
    payload: Annotated[str, typer.Option("--input", help="A JSON object.")] = "{}",
    json: Json = False,
) -> None:
    """Send a signal to a workflow."""
    from tenant_pipelines.operations.signal import signal as deliver

    try:
        given: Any = json_module.loads(payload)
    except ValueError as error:
        raise Failed(f"--input is not JSON: {error}", USAGE) from error
    if not isinstance(given, dict):
        raise Failed("--input must be a JSON object.", USAGE)
    with door.reading() as desk:
        execution = desk.ledger.execution(workflow)
        received = deliver(desk, execution.tenant_id, name, given, key=str(uuid4()), claimant=door.claimant())
    if json:
        show_json({"workflowId": workflow, "signal": name, "effect": received})
    else:
        say(f"{name} delivered to {workflow}: {received or 'recorded'}")


def _parked(execution: "Execution") -> dict[str, Any] | None:
    """While it waits at a step without a worker: where, for what, since when, and when it is looked at again."""
    if not execution.parked:
        return None
    return {
        "step": execution.parked_step,
        "side": execution.parked_side,
        "waitsFor": execution.message,
        "since": execution.parked_at,
        "nextLook": execution.wake_at,
    }


def _told(parked: dict[str, Any] | None) -> str:
    if parked is None:
        return "no"
    undoing = " (undo)" if parked["side"] == "undo" else ""
    return (
        f"at {parked['step']}{undoing} since {parked['since']:%Y-%m-%d %H:%M:%S%z}, "
        f"looked at again {parked['nextLook']:%Y-%m-%d %H:%M:%S%z}, waits for: {parked['waitsFor']}"
    )


def _as_json(execution: "Execution") -> dict[str, Any]:
    return {
        "id": str(execution.id),
        "workflowId": execution.workflow_id,
        "workflowType": execution.workflow_type,
        "tenantId": str(execution.tenant_id),
        "tenantKey": execution.tenant_key,
        "status": execution.state.word,
        "step": execution.step,
        "progress": execution.progress,
        "message": execution.message,
        "parked": _parked(execution),
        "startTime": execution.started_at,
        "endTime": execution.closed_at,
        "failedStep": execution.failed_step,
        "error": execution.error,
        "code": execution.error_code,
    }
