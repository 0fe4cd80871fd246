"""How often and how long a step tries: the retry groups of the contract, and the arithmetic of their waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """The retry groups, named after the kind of system that is called."""

    IDENTITY = "identity"
    INFRASTRUCTURE = "infrastructure"
    DEPLOYMENT = "deployment"
    DATABASE = "database"
    STORAGE = "storage"
    BILLING = "billing"
    DNS = "dns"
    BACKUP = "backup"
    NOTIFICATION = "notification"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Retries:
    """The policy of one group. Times in seconds.

    Args:
        attempts: how many errors that the system answered end the step.
        first_wait: before the second attempt; `factor` times as long before each further one, up to `longest_wait`.
        one_attempt: the longest time of one attempt with its look-ups.
        all_attempts: from the step's begin to its end, outages and waits included.
    """

    attempts: int
    first_wait: float
    longest_wait: float
    one_attempt: float
    all_attempts: float
    factor: float = 2.0

    def wait_before(self, attempt: int) -> float:
        """Seconds to wait before the attempt with this number (2 is the first one that waits)."""
        exponent = min(attempt - 2, 64)
        return min(self.first_wait * self.factor**exponent, self.longest_wait)


_MINUTE = 60.0
_HOUR = 3600.0

RETRIES: Mapping[Group, Retries] = {
    Group.IDENTITY: Retries(3, 10, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE),
    Group.INFRASTRUCTURE: Retries(3, 30, 5 * _MINUTE, 30 * _MINUTE, 45 * _MINUTE),
    Group.DEPLOYMENT: Retries(5, 15, 3 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    Group.DATABASE: Retries(5, 1, 30, 2 * _MINUTE, 5 * _MINUTE),
    Group.STORAGE: Retries(3, 5, _MINUTE, 2 * _MINUTE, 5 * _MINUTE),
    Group.BILLING: Retries(3, 5, _MINUTE, 2 * _MINUTE, 5 * _MINUTE),
    Group.DNS: Retries(5, 5, _MINUTE, _MINUTE, 10 * _MINUTE),
    Group.BACKUP: Retries(3, _MINUTE, 10 * _MINUTE, 4 * _HOUR, 12 * _HOUR),
    Group.NOTIFICATION: Retries(3, 2, 30, 30, 2 * _MINUTE),
    Group.WEBHOOK: Retries(5, 5, _MINUTE, _MINUTE, 3 * _MINUTE),
}
"""The contract's table; each number is a setting."""
