"""The commands `tenant create|list|show|provision`."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tenant_pipelines.cli import door
from tenant_pipelines.cli.door import say, show_table
from tenant_pipelines.cli.output import FAILED, Failed, Json, show_json

if TYPE_CHECKING:
    from tenant_pipelines.domain.tenant import Tenant
    from tenant_pipelines.domain.workflow import Execution
    from tenant_pipelines.operations.operations import Desk

app = typer.Typer(help="Create tenants, look at them, provision them.", no_args_is_help=True)

LONGEST_WAIT = 7 * 24 * 3600

Key = Annotated[str, typer.Argument(metavar="KEY|ID", help="The tenant's key or id.")]


@app.command()
def create(
    key: Annotated[str, typer.Argument(help="2 to 30 small letters and digits, beginning with a letter.")],
    *,
    name: Annotated[str, typer.Option(help="As people call the company.")],
    admin_email: Annotated[str, typer.Option(help="Whoever administers the tenant; gets the invitation.")],
    admin_first_name: Annotated[str, typer.Option()] = "",
    admin_last_name: Annotated[str, typer.Option()] = "",
    plan: Annotated[str | None, typer.Option(help="What it has bought; decides the tier.")] = None,
    tier: Annotated[str | None, typer.Option(help="pooled, bridge or silo, where there is no plan.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Again for each; KEY.localhost if left out.")] = None,
    provision: Annotated[bool, typer.Option(help="Start its provisioning at once.")] = True,
    json: Json = False,
) -> None:
    """Create a tenant and, unless told otherwise, start its provisioning."""
    from tenant_pipelines.domain.refusals import Refused
    from tenant_pipelines.operations import start, tenants
    from tenant_pipelines.operations.requests import new_tenant

    with door.launching() if provision else door.reading() as desk:
        wanted = new_tenant(
            key=key,
            name=name,
            admin_email=admin_email,
            admin_first_name=admin_first_name,
            admin_last_name=admin_last_name,
            plan_id=plan,
            tier=tier,
            domains=domain,
            plans=door.settings().plans,
        )
        tenant = tenants.create(desk, wanted, door.claimant())
        try:
            started = start.start(desk, tenant.id, door.claimant()) if provision else None
        except Refused as refused:
            raise Refused(
                refused.code,
                f"Tenant {tenant.key} was created, and its provisioning was not begun: {refused.message}\n"
                f"Then: tenant-pipelines tenant provision {tenant.key}",
            ) from refused
        tenant = desk.ledger.tenant(tenant.id)
    if json:
        show_json(_as_json(tenant) | (_started(started) if started else {}))
        return
    say(f"Tenant {tenant.key} ({tenant.tier}) is {tenant.status.name}: {tenant.id}")
    if started:
        say(f"Provisioning has started; follow it: tenant-pipelines workflow show {started.workflow_id}")


@app.command("list")
def list_tenants(
    *,
    status: Annotated[int | None, typer.Option(min=0, max=8, help="The number of a status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """List tenants, newest first."""
    from tenant_pipelines.operations import tenants

    with door.reading() as desk:
        found = tenants.find(desk, status=status, limit=limit)
    if json:
        show_json({"data": [_as_json(tenant) for tenant in found]})
        return
    rows = [(tenant.key, tenant.name, tenant.tier, tenant.status.name, str(tenant.id)) for tenant in found]
    show_table("key", "name", "tier", "status", "id", rows=rows)


@app.command()
def show(tenant: Key, *, json: Json = False) -> None:
    """Show a tenant: what it has, what it is owed, what was left behind."""
    from tenant_pipelines.operations import tenants

    with door.reading() as desk:
        found = tenants.show(desk, tenant)
        owed = desk.ledger.owed(found.id)
        left = [thing.as_json() for thing in desk.ledger.left_behind(found.id)]
    document = _as_json(found) | {"owed": owed, "leftBehind": left}
    if json:
        show_json(document)
        return
    for field, value in document.items():
        if field == "metadata":
            for name, entry in sorted(value.items()):
                say(f"  {name}: {entry}")
        else:
            say(f"{field}: {value}")


@app.command()
def provision(
    tenant: Key,
    *,
    reason: Annotated[str | None, typer.Option()] = None,
    wait: Annotated[
        float | None, typer.Option(min=0, max=LONGEST_WAIT, metavar="SECONDS", help="Come back when it has ended.")
    ] = None,
    json: Json = False,
) -> None:
    """Start the provisioning of a tenant. With --wait the exit code says how it has ended: 0 completed."""
    from tenant_pipelines.operations import start, tenants

    with door.launching() as desk:
        found = tenants.show(desk, tenant)
        execution = start.start(desk, found.id, door.claimant(reason))
        ended = _ended(desk, execution, wait) if wait is not None else None
    if json:
        show_json(_started(execution) | (_end(ended) if ended else {}))
    elif ended:
        say(f"Provisioning of {found.key} is {ended.state.word}{f': {ended.error}' if ended.error else '.'}")
    else:
        say(f"Provisioning of {found.key} has started: tenant-pipelines workflow show {execution.workflow_id}")
    if ended and ended.state.word != "completed":
        raise typer.Exit(FAILED)


def _ended(desk: "Desk", execution: "Execution", seconds: float) -> "Execution":
    from tenant_pipelines.operations.awaiting import Endings, NotEnded

    try:
        with Endings(door.settings().database_url.get_secret_value(), desk.ledger) as endings:
            return endings.await_end(execution.id, timeout=seconds)
    except NotEnded as not_ended:
        raise Failed(str(not_ended)) from not_ended


def _as_json(tenant: "Tenant") -> dict[str, Any]:
    return {
        "id": str(tenant.id),
        "key": tenant.key,
        "name": tenant.name,
        "status": tenant.status.value,
        "statusName": tenant.status.name,
        "tier": tenant.tier.value,
        "domains": list(tenant.domains),
        "metadata": dict(tenant.metadata),
        "createdOn": tenant.created_on,
        "modifiedOn": tenant.modified_on,
    }


def _started(execution: "Execution") -> dict[str, Any]:
    return {"workflowId": execution.workflow_id, "runId": str(execution.id)}


def _end(execution: "Execution") -> dict[str, Any]:
    return {"status": execution.state.word, "failedStep": execution.failed_step, "error": execution.error}
