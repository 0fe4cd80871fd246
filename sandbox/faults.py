"""The fault switch: which calls shall go wrong, how, and how often (the contract, Faults and inspection)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """How a call goes wrong."""

    REFUSE = "refuse"
    """The connection is closed without an answer and without an effect."""
    TIMEOUT_BEFORE = "timeout_before"
    """No effect and no answer until the client gives up."""
    TIMEOUT_AFTER = "timeout_after"
    """The effect, and no answer until the client gives up."""
    LATE_EFFECT = "late_effect"
    """No answer; the effect lands once the client has looked and did not try the same call again."""
    RATE_LIMITED = "rate_limited"
    """429 with Retry-After: 1."""
    SERVER_ERROR = "server_error"
    """500 before the effect."""
    SLOW = "slow"
    """The right answer, two seconds late."""
    UNAUTHORIZED = "unauthorized"
    """401, as the system words it."""
    HALF_DONE = "half_done"
    """The effect, or the half of it that the stand-in can leave undone, and then a 500."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule of the switch.

    Args:
        operation: `*`, or the wire operation with `*` for each id (`POST /admin/realms/*/organizations`).
        times: how many calls it still hits.
        tenant: the tenant's key; None hits every tenant's calls.
    """

    operation: str
    mode: Mode
    times: int
    tenant: str | None = None

    def hits(self, operation: str, text: str) -> bool:
        """Whether it hits this call; `text` is everything the call says, in which the tenant's key is looked for."""
        return (
            self.times > 0
            and _matches(self.operation, operation)
            and (self.tenant is None or mentions(text, self.tenant))
        )


def mentions(text: str, key: str) -> bool:
    """Whether the text names the tenant's key as a word of its own (`tenant-acme`, `"acme"`, not `acme2`)."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])", text) is not None


def _matches(pattern: str, operation: str) -> bool:
    if pattern == "*":
        return True
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch("[^/ ]+".join(parts), operation, re.IGNORECASE) is not None


class InvalidFaults(ValueError):
    """The list given to the switch cannot be used; the message names the entry and the reason."""


def parse(body: Any) -> list[Fault]:
    """The faults in a request body: a JSON list of objects.

    Raises: InvalidFaults.
    """
    if not isinstance(body, list):
        raise InvalidFaults("a list of faults is wanted: [{operation, mode, times, tenant?}]")
    return [_parse_one(index, entry) for index, entry in enumerate(body)]


def _parse_one(index: int, entry: Any) -> Fault:
    if not isinstance(entry, Mapping):
        raise InvalidFaults(f"fault {index} is not an object")
    unknown = set(entry) - {"operation", "mode", "times", "tenant"}
    if unknown:
        raise InvalidFaults(f"fault {index} has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    operation, mode, times, tenant = (entry.get(name) for name in ("operation", "mode", "times", "tenant"))
    if not isinstance(operation, str) or not operation:
        raise InvalidFaults(f"fault {index}: operation must be a text such as 'POST /v1/customers' or '*'")
    if mode not in set(Mode):
        raise InvalidFaults(f"fault {index}: mode must be one of {', '.join(Mode)}")
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise InvalidFaults(f"fault {index}: times must be a whole number above 0")
    if tenant is not None and not isinstance(tenant, str):
        raise InvalidFaults(f"fault {index}: tenant must be a tenant's key")
    return Fault(operation, Mode(mode), times, tenant)


class Switchboard:
    """The faults of one stand-in, in the order given; the first that hits a call is used up by one."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def replace(self, faults: Sequence[Fault]) -> None:
        """Put these in the place of whatever was there; an empty list clears the switch."""
        self._faults = list(faults)

    def take(self, operation: str, text: str) -> Fault | None:
        """The fault that this call runs into, used up by one, or None."""
        for index, fault in enumerate(self._faults):
            if fault.hits(operation, text):
                self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None

    @property
    def armed(self) -> bool:
        """Whether any fault is left."""
        return any(fault.times > 0 for fault in self._faults)

    def as_json(self) -> list[dict[str, Any]]:
        """The faults that are left, as the switch takes them."""
        return [
            {"operation": f.operation, "mode": f.mode.value, "times": f.times}
            | ({"tenant": f.tenant} if f.tenant else {})
            for f in self._faults
            if f.times > 0
        ]
