"""How long things are kept, and how much of it one pass of the retention does."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What a pass counts, and the audit names."""

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
class Ages:
    """How long things are kept, in seconds; 0 for ever.

    Args:
        dagster_runs: after their execution has closed. executions: a closed execution's rows in the ledger.
        personal_data: after the execution has closed. archive: documents of tenants that are gone, counted from the
            end of the execution. launches: ended rows of the workers' queue.
    """

    dagster_runs: float
    executions: float
    personal_data: float
    archive: float
    launches: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one pass. Args: batch: things a transaction. at_most: things a pass. seconds: after which none is begun."""

    batch: int = 200
    at_most: int = 100_000
    seconds: float = 300.0


def cutoff(now: datetime, age: float) -> datetime | None:
    """The moment before which things are old enough; None when they are kept for ever."""
    return now - timedelta(seconds=age) if age > 0 else None
