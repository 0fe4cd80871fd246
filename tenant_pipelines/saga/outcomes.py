"""What the sides of a step answer to the engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenant_pipelines.domain.outcomes import Ensured, Pending


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is there.

    Args:
        found: what was created or adopted.
        metadata: the tenant's metadata keys that have become true (the contract's list).
        facts: what later steps need to know; never a secret.
    """

    found: Sequence[Ensured] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class AwaitingSignal:
    """The effect is there; a signal will confirm it, and no worker is held until then.

    Args:
        signal: its name. seconds: how long it is waited for before the workflow completes without it.
    """

    done: Done
    signal: str
    seconds: float


DoOutcome = Done | Pending | AwaitingSignal
