"""What is measured, and how much of it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from benchmarks.rounds import Amount


class Section(StrEnum):
    """A part of the benchmarks that can be asked for alone."""

    SINGLE = "single"
    """One provisioning, and a burst: beside Temporal and DBOS."""
    DEFAULTS = "defaults"
    """The same with Dagster's default launcher and default executor."""
    WAITING = "waiting"
    """A thousand tenants that wait."""
    KILLED = "killed"
    """A worker is killed."""
    IDLE = "idle"
    """The whole stack, unused; measured with each of the following too."""
    PROVISIONING = "provisioning"
    """Real provisionings, part by part."""
    OVERHEAD = "overhead"
    """Real provisionings: ours and the outside systems' time."""
    FAILING = "failing"
    """A step fails for good."""
    MEMORY = "memory"
    """The stack's memory while tenants are provisioned."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Args: rounds: of whatever has no number of its own. waiting: tenants. idle: seconds."""

    rounds: int
    contest: Amount
    defaults: Amount
    waiting: int
    idle: float

    def with_rounds(self, rounds: int | None) -> "Plan":
        """The same with so many rounds; but for Dagster's defaults, which take half a minute each."""
        if rounds is None:
            return self
        return replace(self, rounds=rounds, contest=replace(self.contest, rounds=rounds))


FULL = Plan(5, Amount(rounds=5, singles=20, burst=100), Amount(rounds=3, singles=1, burst=0), waiting=1000, idle=20.0)
QUICK = Plan(1, Amount(rounds=1, singles=2, burst=6), Amount(rounds=1, singles=1, burst=0), waiting=10, idle=2.0)
