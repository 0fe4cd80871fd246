"""The desk, as the command line opens it; Dagster is imported only where a run is to be launched."""
# ruff: noqa: PLC0415 - see above

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenant_pipelines.cli.output import FAILED, UNREACHABLE, USAGE, Failed
from tenant_pipelines.domain.refusals import Code, Refused

if TYPE_CHECKING:
    from tenant_pipelines.ledger.claims import Claimant
    from tenant_pipelines.operations.operations import Desk
    from tenant_pipelines.operations.runs import Launch, Runs, RunState
    from tenant_pipelines.settings import Settings

EXIT = {Code.INVALID: USAGE, Code.UNAVAILABLE: UNREACHABLE}


class _NeverLaunches:
    """The gateway of a command that only reads."""

    def launch(self, launch: "Launch") -> None:
        raise NotImplementedError(f"this command launches no runs, not even {launch.run_id}")

    def state(self, run_id: object) -> "RunState":
        raise NotImplementedError(f"this command looks at no runs, not even {run_id}")


@contextmanager
def reading() -> "Iterator[Desk]":
    """A desk to read at.

    Raises: Failed with the contract's exit code for every refusal.
    """
    with _opened(_NeverLaunches()) as desk:
        yield desk


@contextmanager
def launching() -> "Iterator[Desk]":
    """A desk whose operations may launch runs.

    Raises: Failed with the contract's exit code for every refusal.
    """
    from dagster import DagsterInstance

    from tenant_pipelines.definitions import job
    from tenant_pipelines.runs.gateway import DagsterRuns

    with DagsterInstance.get() as instance, _opened(DagsterRuns(instance, job)) as desk:
        yield desk


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
