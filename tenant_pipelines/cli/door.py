"""The desk, as the command line opens it; Dagster is imported only where a run is to be launched."""
# ruff: noqa: PLC0415 - see above

import getpass
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from tenant_pipelines.cli.output import FAILED, UNREACHABLE, USAGE, Failed, out
from tenant_pipelines.domain.refusals import Code, Refused

if TYPE_CHECKING:
    from tenant_pipelines.ledger.claims import Claimant
    from tenant_pipelines.operations.operations import Desk
    from tenant_pipelines.operations.runs import Asked, Launch, Runs, RunState
    from tenant_pipelines.runs.gateway import DagsterRuns
    from tenant_pipelines.settings import Settings

EXIT = {Code.INVALID: USAGE, Code.UNAVAILABLE: UNREACHABLE}


class _DagsterWhenNeeded:
    """Opens Dagster at the first launch: a command that is refused does not wait the seconds that this takes."""

    def __init__(self, open_things: ExitStack) -> None:
        self._open_things = open_things
        self._runs: DagsterRuns | None = None

    def launch(self, launch: "Launch") -> None:
        if self._runs is None:
            self._runs = self._dagster(launch)
        self._runs.launch(launch)

    def state(self, run_id: object) -> "RunState":
        raise NotImplementedError(f"this command looks at no runs, not even {run_id}")

    def asked(self, run_id: object) -> "Asked | None":
        raise NotImplementedError(f"this command looks at no runs, not even {run_id}")

    def close_lost(self, run_id: object, why: str) -> None:
        raise NotImplementedError(f"this command ends no runs, not even {run_id} ({why})")

    def _dagster(self, launch: "Launch") -> "DagsterRuns":
        from tenant_pipelines.operations.runs import NotLaunched, NotSupported

        try:
            from dagster import DagsterInstance

            from tenant_pipelines.definitions import job
            from tenant_pipelines.runs.gateway import DagsterRuns

            return DagsterRuns(self._open_things.enter_context(DagsterInstance.get()), job)
        except NotSupported as error:
            raise NotLaunched(f"run {launch.run_id}: {error}") from error
        except Exception as error:
            reason = f"Dagster's instance: {type(error).__name__}"
            if "DAGSTER_HOME" not in os.environ:
                reason = "DAGSTER_HOME is not set in this shell (on the local stack: . .local/env)"
            raise NotLaunched(f"run {launch.run_id}: {reason}. workflow_guard launches it shortly") from error


@contextmanager
def reading() -> "Iterator[Desk]":
    """A desk to read at.

    Raises: Failed with the contract's exit code for every refusal.
    """
    from tenant_pipelines.operations.runs import NoRuns

    with _opened(NoRuns()) as desk:
        yield desk


@contextmanager
def launching() -> "Iterator[Desk]":
    """A desk whose operations may launch runs.

    Raises: Failed with the contract's exit code for every refusal.
    """
    with ExitStack() as open_things, _opened(_DagsterWhenNeeded(open_things)) as desk:
        yield desk


def say(line: str) -> None:
    """One line for people, as it is: a command or an id that is broken at column 80 cannot be copied."""
    out.print(line, markup=False, soft_wrap=True)


def show_table(*columns: str, rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as the terminal, folded where it must be; in a pipe as wide as it is, so that grep finds it."""
    table = Table(*(Column(column, overflow="fold") for column in columns))
    for row in rows:
        table.add_row(*map(Text, row))  # a name may hold what the screen's library takes for markup
    wanted = Measurement.get(out, out.options.update(max_width=1000), table).maximum
    (out if out.is_terminal else Console(width=wanted, highlight=False)).print(table)


def settings() -> "Settings":
    """The settings.

    Raises: Failed, naming all that is missing.
    """
    from tenant_pipelines import settings

    try:
        return settings.load()
    except settings.InvalidSettings as invalid:
        raise Failed(str(invalid), USAGE) from invalid


def claimant(reason: str | None = None) -> "Claimant":
    """Who is at the keyboard."""
    from tenant_pipelines.ledger.claims import Claimant

    return Claimant(getpass.getuser(), "cli", reason)


@contextmanager
def _opened(runs: "Runs") -> "Iterator[Desk]":
    from tenant_pipelines.desk import open_desk
    from tenant_pipelines.ledger.database import Database

    given = settings()
    database = Database(given.database_url.get_secret_value(), patience=5)
    try:
        yield open_desk(given, database, runs)
    except Refused as refused:
        raise Failed(refused.message, EXIT.get(refused.code, FAILED)) from refused
    finally:
        database.close()
