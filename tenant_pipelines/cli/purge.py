"""The command `purge`: the retention, now."""
# ruff: noqa: PLC0415 - what a command needs is imported when it is called, so that every other one starts at once

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tenant_pipelines.cli import door
from tenant_pipelines.cli.door import say, show_table
from tenant_pipelines.cli.output import FAILED, UNREACHABLE, Failed, Json, show_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenant_pipelines.operations.retention import OldRuns, Report

WORDS = {
    "dagsterRuns": "Dagster runs deleted, with their events and output",
    "documentsRedacted": "archived executions whose personal data are redacted",
    "documentsDropped": "archived executions of tenants that are gone, dropped",
    "redacted": "executions in the ledger whose personal data are redacted",
    "thinned": "older executions of living tenants: attempts, history and signals archived",
    "archived": "executions of tenants that are gone, archived",
    "tenantsRedacted": "tenants that are gone, whose contacts are redacted",
    "launches": "ended launches removed",
}


def purge(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only counted.")] = False,
    json: Json = False,
) -> None:
    """Archive, redact and remove what is older than the settings keep it; counts only, without --yes."""
    from tenant_pipelines.ledger.retirement import Retirement
    from tenant_pipelines.operations.sweep import sweep

    given = door.settings()
    with door.reading() as desk, _old_runs() as runs:
        ledger = Retirement(desk.ledger.database, by=door.claimant())
        desk.ledger.ping()
        if yes:  # that somebody did it is worth a row, whatever there is to do
            ledger.record({}, outcome="begun")
        report = sweep(ledger, runs, given.ages(), given.bounds(), desk.clock, dry=not yes)
    if json:
        show_json({"dryRun": not yes, **report.as_json()})
    else:
        _show(report, yes=yes)
    if report.errors:
        raise Failed(f"Not everything could be done: {'; '.join(report.errors)}", FAILED)


def _show(report: "Report", *, yes: bool) -> None:
    counts = {kind.value: str(count) for kind, count in report.counts.items()}
    show_table("what", "count", rows=[(words, counts.get(kind, "0")) for kind, words in WORDS.items()])
    if not report.finished:
        say("One pass ends here (retention_at_most, retention_time); the next one goes on.")
    say(f"Done in {report.seconds} s." if yes else "Nothing was changed. To do it: tenant-pipelines purge --yes")


@contextmanager
def _old_runs() -> "Iterator[OldRuns]":
    """Dagster's instance; without it half of the retention would be left out.

    Raises: Failed.
    """
    import os

    from dagster import DagsterInstance

    from tenant_pipelines.runs.old_runs import OldDagsterRuns

    try:
        instance = DagsterInstance.get()
    except Exception as error:
        reason = f"Dagster's instance cannot be opened: {type(error).__name__}."
        if "DAGSTER_HOME" not in os.environ:
            reason = "DAGSTER_HOME is not set in this shell (on the local stack: . .local/env)."
        raise Failed(f"{reason} Nothing was changed.", UNREACHABLE) from error
    with instance:
        yield OldDagsterRuns(instance)
