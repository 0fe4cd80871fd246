"""A tenant, its status and the one table of transitions (the contract, section Tenants)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.call import Mark

KEY = re.compile(r"[a-z][a-z0-9]{1,29}")
RESERVED_KEYS = frozenset({"management", "platform", "template", "public", "www", "api", "admin"})
PLATFORM = UUID("a0000000-0000-0000-0000-000000000000")
MANAGEMENT = UUID("a0000000-0000-0000-0000-000000000001")
RESERVED_IDS = frozenset({PLATFORM, MANAGEMENT})


class Status(IntEnum):
    """The number in `tenant_management.tenants.status`."""

    ACTIVE = 0
    PENDING_PROVISION = 1
    PROVISIONING = 2
    PROVISION_FAILED = 3
    DEPROVISIONING = 4
    INACTIVE = 5
    QUEUED_FOR_RETRY = 6
    PROVISION_CANCELLED = 7
    DEPROVISIONED = 8


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.ACTIVE: frozenset({Status.DEPROVISIONING}),
    Status.PENDING_PROVISION: frozenset({Status.PROVISIONING, Status.DEPROVISIONING}),
    Status.PROVISIONING: frozenset({Status.ACTIVE, Status.PROVISION_FAILED, Status.PROVISION_CANCELLED}),
    Status.PROVISION_FAILED: frozenset(
        {Status.PENDING_PROVISION, Status.PROVISIONING, Status.DEPROVISIONING, Status.QUEUED_FOR_RETRY}
    ),
    Status.DEPROVISIONING: frozenset({Status.ACTIVE, Status.INACTIVE, Status.DEPROVISIONED}),
    Status.INACTIVE: frozenset({Status.DEPROVISIONING}),
    Status.QUEUED_FOR_RETRY: frozenset(
        {Status.PENDING_PROVISION, Status.PROVISIONING, Status.DEPROVISIONING, Status.PROVISION_CANCELLED}
    ),
    Status.PROVISION_CANCELLED: frozenset({Status.PENDING_PROVISION, Status.PROVISIONING, Status.DEPROVISIONING}),
    Status.DEPROVISIONED: frozenset(),
}

PROVISION_FROM = frozenset(
    {Status.PENDING_PROVISION, Status.PROVISION_FAILED, Status.QUEUED_FOR_RETRY, Status.PROVISION_CANCELLED}
)


def may_change(old: Status, new: Status) -> bool:
    """Whether the engine may move a tenant from `old` to `new`; to the same status always."""
    return old == new or new in TRANSITIONS[old]


class Tier(StrEnum):
    """How much of a tenant is its own."""

    POOLED = "pooled"
    BRIDGE = "bridge"
    SILO = "silo"


@dataclass(frozen=True, slots=True)
class Contact:
    """A person at the tenant; the primary one becomes its administrator."""

    first_name: str
    last_name: str
    email: str
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the tenant has bought; `plan_id` is also the lookup key of its price at Stripe."""

    id: UUID
    plan_id: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """The tenant's row with its contacts and subscription, as read in one transaction."""

    id: UUID
    key: str
    name: str
    status: Status
    tier: Tier
    domains: tuple[str, ...]
    contacts: tuple[Contact, ...] = ()
    subscription: Subscription | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created_on: datetime | None = None
    modified_on: datetime | None = None

    @property
    def mark(self) -> Mark:
        """The ownership mark of everything that is made for this tenant."""
        return Mark(str(self.id), self.key)

    @property
    def admin(self) -> Contact | None:
        """The primary contact, else the first one, else None."""
        return next((c for c in self.contacts if c.primary), self.contacts[0] if self.contacts else None)
