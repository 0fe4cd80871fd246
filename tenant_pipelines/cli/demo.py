"""The command `demo`: a few tenants on a local stack of its own, what is then there, and the proof of a rollback."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tenant_pipelines.cli import door
from tenant_pipelines.cli.output import FAILED, Json, err, out, show_json
from tenant_pipelines.cli.stack import Home, folder_of, readable

if TYPE_CHECKING:
    from sandbox.demo.memory import Peak
    from sandbox.demo.run import Run
    from sandbox.demo.screen import Screen

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

Tenants = Annotated[Path | None, typer.Option("--tenants", help="The tenants (default: examples/tenants.yaml).")]


def demo(*, tenants: Tenants = None, json: Json = False, home: Home = None) -> None:
    """Provision a few tenants on a local stack of the demo's own, show one that fails, and stop everything."""
    from sandbox.demo import home as homes
    from sandbox.demo import memory, plan
    from sandbox.demo.run import Run
    from sandbox.demo.screen import Screen
    from sandbox.stack import processes
    from sandbox.stack.folder import CHECKOUT
    from sandbox.stack.up import until_told_to_stop

    began = time.monotonic()
    screen = Screen(Console(quiet=True) if json else out)
    with readable():
        wanted = plan.read((tenants or CHECKOUT / "examples" / "tenants.yaml").absolute())
        folder = homes.fresh(folder_of(home))
        run = Run(folder, wanted, screen, door.launching)
        with memory.watched(folder) as peak:
            finished = until_told_to_stop(run.all, again=lambda: err.print("Stopping already; a few seconds more."))
    wrong = [f"Process {one.pid} is left: {one.command[:80]}" for one in processes.of_stack(folder)]
    if finished:
        wrong += [f"{one.tenant.key}: {said}" for one in run.found for said in one.wrong]
    if json:
        show_json(_as_json(run, wrong, time.monotonic() - began, peak))
    elif wrong:
        screen.wrong(wrong)
    elif finished:
        _say_goodbye(screen, run, time.monotonic() - began, peak)
    else:
        screen.say("Stopped; no process is left.")
    raise typer.Exit(INTERRUPTED if not finished else FAILED if wrong else 0)


def _say_goodbye(screen: "Screen", run: "Run", seconds: float, peak: "Peak") -> None:
    phases = ", ".join(f"{name} {took:.0f} s" for name, took in run.phases.items())
    screen.say("")
    screen.say(f"[bold]{seconds:.0f} s[/] in all ({phases}); at most [bold]{peak.mebibytes} MiB[/] of memory.")
    screen.say("Everything has ended, and no process is left.")
    screen.say("To look around yourself, in the Dagster UI too: make up")


def _as_json(run: "Run", wrong: list[str], seconds: float, peak: "Peak") -> dict[str, Any]:
    return {
        "tenants": [one.as_json() for one in run.found],
        "wrong": wrong,
        "seconds": round(seconds, 1),
        "phases": {name: round(took, 1) for name, took in run.phases.items()},
        "memory": {"peakMiB": peak.mebibytes},
    }
