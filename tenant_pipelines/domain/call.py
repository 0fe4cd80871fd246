"""What every adapter call carries: whose object it is, how long it may take, and whether it may still write."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """The ownership mark of one tenant: what our objects carry in every system.

    Undo deletes only what carries it; ensure adopts only what carries it (the contract, Provisioning).
    """

    tenant_id: str
    tenant_key: str

    MANAGED_BY = "tenant-pipelines"

    def labels(self) -> dict[str, str]:
        """The mark as the three pairs written wherever a system has labels, tags, attributes or metadata."""
        return {"tenantId": self.tenant_id, "tenantKey": self.tenant_key, "managedBy": self.MANAGED_BY}


class DeadlinePassed(Exception):
    """The time of this attempt is over before the call could be made; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one outside system.

    Args:
        key: the idempotency key of the attempt's step: the same for every attempt of one generation, no personal data.
        deadline: when the attempt's time is over, in seconds of `clock`.
        fence: raises when this run may not act any longer (lost lock, old generation, cancelled, terminated).
        clock: monotonic seconds.
    """

    key: str
    deadline: float
    fence: Callable[[], None]
    clock: Callable[[], float] = time.monotonic

    def seconds_left(self, at_most: float = 30.0) -> float:
        """The time-out to give to the next request, in seconds: what is left, `at_most` per request.

        Raises: DeadlinePassed when nothing is left.
        """
        left = self.deadline - self.clock()
        if left <= 0:
            raise DeadlinePassed
        return min(left, at_most)

    def before_write(self, at_most: float = 30.0) -> float:
        """Ask the fence, then answer the time-out for the write. To be called right before every outside write."""
        self.fence()
        return self.seconds_left(at_most)
