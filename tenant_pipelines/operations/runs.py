"""What the operations ask of the gateway to Dagster; they never see Dagster itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.workflow import Execution, Kind


class NotLaunched(Exception):
    """Dagster could not be asked to make the run, or to take it; the ledger knows of it all the same."""


class RunState(StrEnum):
    """How a Dagster run stands, as far as it matters to an execution. Never an outcome."""

    MISSING = "missing"
    ALIVE = "alive"
    """Created, queued, starting, running or being cancelled."""
    ENDED = "ended"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Launch:
    """One run to be made.

    Args:
        first_step: None runs the whole job; a step's name runs it and all after it.
    """

    run_id: UUID
    execution: Execution
    kind: Kind
    first_step: str | None = None


class Runs(Protocol):
    """The one gateway to Dagster."""

    def launch(self, launch: Launch) -> None:
        """Create the run and hand it over; a second call with the same run id does nothing more.

        Raises: NotLaunched.
        """
        ...

    def state(self, run_id: UUID) -> RunState:
        """How the run stands."""
        ...


class NoRuns:
    """The gateway of a door whose operations launch no runs: it has no need of Dagster, which takes 130 MiB."""

    def launch(self, launch: Launch) -> None:
        """Raises NotImplementedError: a mistake of whoever put the door together."""
        raise NotImplementedError(f"this door launches no runs, not even {launch.run_id}")

    def state(self, run_id: UUID) -> RunState:
        """Raises NotImplementedError: a mistake of whoever put the door together."""
        raise NotImplementedError(f"this door looks at no runs, not even {run_id}")
