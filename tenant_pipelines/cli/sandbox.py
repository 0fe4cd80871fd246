"""The commands of the sandbox: make an outside system go wrong, and look at what is in it."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

from pathlib import Path
from typing import Annotated, Any

import typer

from tenant_pipelines.cli.output import UNREACHABLE, Failed, Json, out, show_json
from tenant_pipelines.cli.stack import Home, folder_of, readable

app = typer.Typer(help="Make an outside system of the local stack go wrong, and look into it.", no_args_is_help=True)

System = Annotated[str, typer.Argument(metavar="SYSTEM", help="postgres, s3, keycloak, terraform, …")]


@app.command()
def fault(
    system: System,
    operation: Annotated[str, typer.Argument(help="`*`, or as `POST /v1/customers`; ids as `*`.")] = "",
    mode: Annotated[str, typer.Argument(help="refuse, timeout_before, server_error, …")] = "",
    *,
    times: Annotated[int, typer.Option(min=1, help="How many calls it hits.")] = 1,
    tenant: Annotated[str, typer.Option(help="Only calls about the tenant with this key.")] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Take back every fault of the system.")] = False,
    json: Json = False,
    home: Home = None,
) -> None:
    """Add a fault to a system, take all of them back, or, without an operation, show them."""
    if bool(operation) != bool(mode):
        raise typer.BadParameter("an operation needs a mode")
    with readable():
        url = f"{_switch(system, home)}/_sandbox/faults"
        faults = [] if clear else _call("GET", url)
        if operation:
            one: dict[str, Any] = {"operation": operation, "mode": mode, "times": times}
            faults = [*faults, one | ({"tenant": tenant} if tenant else {})]
        if operation or clear:
            faults = _call("PUT", url, faults)
    if json:
        show_json(faults)
        return
    for left in faults:
        whose = f" for {left['tenant']}" if "tenant" in left else ""
        out.print(f"{left['mode']:<15} {left['operation']}  {left['times']}x{whose}", markup=False)
    if not faults:
        out.print(f"{system} has no faults.")


@app.command()
def state(
    system: Annotated[str, typer.Argument(metavar="[SYSTEM]", help="All of them if left out.")] = "",
    *,
    tenant: Annotated[str, typer.Option(help="Only what belongs to the tenant with this key.")] = "",
    json: Json = False,
    home: Home = None,
) -> None:
    """Show the objects that exist in the outside systems, read from the systems themselves."""
    with readable():
        names = [system] if system else _systems(home)
        query = f"?tenant={tenant}" if tenant else ""
        found = {name: _call("GET", f"{_switch(name, home)}/_sandbox/state{query}")["objects"] for name in names}
    if json:
        show_json({"objects": [{"system": name} | one for name, objects in found.items() for one in objects]})
        return
    for name, objects in found.items():
        for one in objects:
            whose = "" if one["ours"] else "  (not ours)"
            out.print(f"{name:<11} {one['kind']:<14} {one['name']}{whose}", markup=False)
    if not any(found.values()):
        out.print("Nothing is there.")


def _systems(home: Path | None) -> list[str]:
    from sandbox.stack.parts import document

    return list(document(folder_of(home))["services"])


def _switch(system: str, home: Path | None) -> str:
    from sandbox.stack.parts import document

    services = document(folder_of(home))["services"]
    if system not in services:
        raise typer.BadParameter(f"{system} is none of {', '.join(services)}")
    address: str = services[system].get("sandbox_url", services[system]["url"])
    return address.removesuffix("/")


def _call(method: str, url: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    import httpx

    try:
        answer = httpx.request(method, url, json=body, timeout=10, trust_env=False)
    except httpx.HTTPError as error:
        raise Failed(f"{url} does not answer.", UNREACHABLE) from error
    if answer.status_code != 200:
        raise Failed(str(answer.json().get("error", f"{url} answered {answer.status_code}")), 2)
    return answer.json()
