"""The commands of the local stack: up, down, stack status, stack restart, worker stop and start, logs."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_pipelines.cli.output import UNREACHABLE, USAGE, Failed, Json, err, out, show_json

if TYPE_CHECKING:
    from sandbox.stack.folder import Folder
    from sandbox.stack.up import Notice

Part = Annotated[str, typer.Argument(metavar="PART", help="A name from `stack status`.")]
Home = Annotated[
    Path | None, typer.Option("--home", help="The folder that holds .local (default: the checkout).", hidden=True)
]

stack_app = typer.Typer(help="Look at the parts of the local stack, and restart one.", no_args_is_help=True)
worker_app = typer.Typer(help="Stop and start what executes workflows, as an outage would.", no_args_is_help=True)


def mount(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(up)
    app.command()(down)
    app.command()(logs)
    app.add_typer(stack_app, name="stack")
    app.add_typer(worker_app, name="worker")


@contextmanager
def readable() -> Iterator[None]:
    """Turn what the stack has to say into what the command line says."""
    from sandbox.stack.failure import StackFailure, UnknownPart

    try:
        yield
    except UnknownPart as failure:
        raise Failed(str(failure), USAGE) from failure
    except StackFailure as failure:
        raise Failed(str(failure), 1 if failure.reachable else UNREACHABLE) from failure


def folder_of(home: Path | None) -> "Folder":
    """The stack's folder."""
    from sandbox.stack.folder import CHECKOUT, Folder

    return Folder((home or CHECKOUT).absolute())


def up(
    *,
    json: Json = False,
    home: Home = None,
    systems_only: Annotated[
        bool, typer.Option("--systems-only", help="Without Dagster and the REST API, for `dagster dev` beside it.")
    ] = False,
    definitions: Annotated[str | None, typer.Option(hidden=True, help="Another module with definitions.")] = None,
) -> None:
    """Start the local stack and keep it running until Ctrl-C."""
    from sandbox.stack import up as starting
    from sandbox.stack.programs import DEFINITIONS, Choice

    folder = folder_of(home)

    async def main() -> None:
        tell = _tell_nobody if json else _tell
        choice = Choice(definitions or DEFINITIONS, product=not systems_only)
        async with starting.running(folder, tell=tell, choice=choice) as stack:
            if json:
                show_json(stack.document)
            else:
                _show_addresses(folder)
            await stack.watch()

    with readable():
        starting.until_told_to_stop(main, again=lambda: err.print("Stopping already; a few seconds more."))
    if not json:
        err.print("The stack has ended; its data are kept in .local.")


def down(*, json: Json = False, home: Home = None) -> None:
    """End the local stack, wherever it runs; its data are kept."""
    from sandbox.stack.stop import down as end

    with readable():
        ended = end(folder_of(home))
    if json:
        show_json({"ended": ended})
    else:
        out.print("The stack has ended." if ended else "No stack runs here.")


@stack_app.command()
def status(*, json: Json = False, home: Home = None) -> None:
    """Show how each part of the stack is."""
    from sandbox.stack import parts

    with readable():
        found = parts.status(folder_of(home))
    if json:
        show_json({"parts": [part.as_json() for part in found]})
        return
    _show_table(("part", "state", "process", "running for", "address"), [part.as_row() for part in found])
    if any(part.state == parts.BROKEN for part in found):
        out.print(parts.why_broken(folder_of(home)))


@stack_app.command()
def restart(part: Part, *, json: Json = False, home: Home = None) -> None:
    """Restart one part of the stack, and wait until it answers again."""
    from sandbox.stack import parts

    with readable():
        parts.restart(folder_of(home), part)
    if json:
        show_json({"restarted": part})
    else:
        out.print(f"{part} has been restarted.")


@worker_app.command("stop")
def stop_worker(*, json: Json = False, home: Home = None) -> None:
    """Stop everything that executes workflows; what runs stays Running and goes on later."""
    from sandbox.stack import parts

    with readable():
        parts.stop_worker(folder_of(home))
    if json:
        show_json({"worker": "stopped"})
    else:
        out.print("The worker is stopped. Start it again: tenant-pipelines worker start")


@worker_app.command("start")
def start_worker(*, json: Json = False, home: Home = None) -> None:
    """Start it again, and wait until it answers."""
    from sandbox.stack import parts

    with readable():
        parts.start_worker(folder_of(home))
    if json:
        show_json({"worker": "started"})
    else:
        out.print("The worker runs.")


def logs(
    part: Annotated[str, typer.Argument(metavar="[PART]", help="A part of the stack; all workflows if left out.")] = "",
    *,
    marker: Annotated[str, typer.Option(help="Only lines with this marker, as FLOW_FAIL.")] = "",
    workflow: Annotated[str, typer.Option(help="Only lines of this workflow id.")] = "",
    tail: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 200,
    json: Json = False,
    home: Home = None,
) -> None:
    """Show the log of a part, or the one stream of all workflows."""
    from sandbox.stack import log_lines

    with readable():
        lines = log_lines.last(folder_of(home), part, marker=marker, workflow=workflow, count=tail)
    if json:
        show_json({"lines": lines})
    else:
        for line in lines:
            typer.echo(line)


def _tell(notice: "Notice") -> None:
    from sandbox.stack.up import Died, DiskFull, Ready

    match notice:
        case Ready(part, seconds):
            err.print(f"[green]ready[/]  {part:<16} {seconds:5.1f} s", soft_wrap=True)
        case Died(part, log, again=True):
            err.print(f"[yellow]ended[/]  {part}, and has been started again; see {log}", soft_wrap=True)
        case Died(part, log):
            err.print(f"[red]ended[/]  {part} again and again, and is given up; see {log}", soft_wrap=True)
            err.print(f"       Way out: tenant-pipelines stack restart {part}")
        case DiskFull(place, free):
            text = f"{place} has {free // 1024**2} MiB left; what is refused now is tried again once there is room"
            err.print(f"[red]disk full[/]  {text}. Way out: make room", soft_wrap=True)


def _tell_nobody(_: "Notice") -> None:
    return None


def _show_addresses(folder: "Folder") -> None:
    from sandbox.stack import parts

    rows = [(part.name, part.url) for part in parts.addresses(folder)]
    _show_table(("part", "address"), rows)
    out.print(f"Credentials: {folder.credentials_json}", soft_wrap=True)
    out.print(f"For your shell: . {folder.shell_env}", soft_wrap=True)
    out.print("End: Ctrl-C")


def _show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table)
