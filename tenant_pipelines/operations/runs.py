"""What the operations ask of the gateway to Dagster; they never see Dagster itself."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.workflow import Execution, Kind


class NotLaunched(Exception):
    """Dagster could not be asked to make the run, or to take it; the ledger knows of it all the same."""


class NotSupported(Exception):
    """This Dagster, or what its dagster.yaml combines, is not one that the product works with; the message says why."""


class RunState(StrEnum):
    """How a Dagster run stands, as far as it matters to an execution. Never an outcome."""

    MISSING = "missing"
    ALIVE = "alive"
    """Created, queued, starting, running or being cancelled."""
    ENDED = "ended"
    """Also when its worker is lost, whatever Dagster still believes."""
    CANCELLED = "cancelled"
    """Also when its worker was lost while it was being cancelled."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was made for that the ledger does not know (yet).

    Args:
        tenant_id: whom it was to provision; None when it was made for something else.
        begun: whether a worker has begun with it. over: whether it has ended.
    """

    tenant_id: UUID | None
    begun: bool
    over: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """One run to be made.

    Args:
        first_step: None runs the whole job; a step's name runs it and all after it, in the order of the kind.
        parked: the step at which the execution had parked, where this run goes on after a wait.
    """

    run_id: UUID
    execution: Execution
    kind: Kind
    first_step: str | None = None
    parked: str | None = None


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

    def asked(self, run_id: UUID) -> Asked | None:
        """What the run was made for; None when there is no such run."""
        ...

    def close_lost(self, run_id: UUID, why: str) -> None:
        """Its worker is lost: end the run in Dagster, where it has not ended; as cancelled if it was being that.

        Args: why: shown as the run's last word.
        """
        ...


class NoRuns:
    """The gateway of a door whose operations launch no runs: it has no need of Dagster, which takes 130 MiB."""

    def launch(self, launch: Launch) -> None:
        """Raises NotImplementedError: a mistake of whoever put the door together."""
        raise NotImplementedError(f"this door launches no runs, not even {launch.run_id}")

    def state(self, run_id: UUID) -> RunState:
        """Raises NotImplementedError: a mistake of whoever put the door together."""
        raise NotImplementedError(f"this door looks at no runs, not even {run_id}")

    def asked(self, run_id: UUID) -> Asked | None:
        """Raises NotImplementedError: as above."""
        raise NotImplementedError(f"this door looks at no runs, not even {run_id}")

    def close_lost(self, run_id: UUID, why: str) -> None:
        """Raises NotImplementedError: as above."""
        raise NotImplementedError(f"this door ends no runs, not even {run_id} ({why})")
