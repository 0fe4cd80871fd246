"""What a pass of the retention answers, and what it asks of Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.retention import Kind


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass has done, or a dry run would do.

    Args: finished: nothing was left over for another pass. errors: what could not be done, without any content.
    """

    counts: Mapping[Kind, int]
    finished: bool
    errors: Sequence[str]
    seconds: float

    def as_json(self) -> dict[str, object]:
        """As every door shows it."""
        counts = {kind.value: self.counts.get(kind, 0) for kind in Kind}
        return {"counts": counts, "finished": self.finished, "errors": list(self.errors), "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A Dagster run that has ended. Args: execution_id: the execution that it says it belongs to."""

    id: UUID
    execution_id: UUID | None
    ended_at: datetime


class OldRuns(Protocol):
    """What retention asks of Dagster."""

    def ended(self, *, before: datetime, after: UUID | None, limit: int) -> Sequence[EndedRun]:
        """Runs that ended before then, oldest first, after that one (which is still there)."""
        ...

    def delete(self, run_id: UUID) -> None:
        """Delete the run with all that Dagster keeps of it; may be repeated."""
        ...


def may_go(run: EndedRun, ends: Mapping[UUID, datetime | None], before: datetime) -> bool:
    """Whether a Dagster run may be deleted: by its execution's end, or its own where no execution is known."""
    ended = ends.get(run.id, run.ended_at)
    return ended is not None and ended < before
