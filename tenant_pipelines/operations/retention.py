"""What a pass of the retention counts, and what it asks of Dagster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Kind(StrEnum):
    """What is counted."""

    DAGSTER_RUNS = "dagsterRuns"
    """Dagster runs deleted with their events and their captured output."""
    DOCUMENTS_REDACTED = "documentsRedacted"
    DOCUMENTS_DROPPED = "documentsDropped"
    REDACTED = "redacted"
    """Executions in the ledger that hold no personal data any more."""
    THINNED = "thinned"
    """Older executions of living tenants whose attempts, history and signals have moved to the archive."""
    ARCHIVED = "archived"
    """Executions of tenants that are gone, moved to the archive whole."""
    TENANTS_REDACTED = "tenantsRedacted"
    """Tenants that are gone, whose contacts have been redacted."""
    LAUNCHES = "launches"
    """Ended rows of the workers' queue, removed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass has done, or a dry run would do.

    Args: finished: nothing was left over for another pass. errors: what could not be done, without any content.
    """

    counts: Mapping[Kind, int]
    finished: bool
    errors: Sequence[str]
    seconds: float

    def done(self) -> dict[str, int]:
        """What has been done at all, for the audit."""
        return {kind.value: count for kind, count in self.counts.items() if count}

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
