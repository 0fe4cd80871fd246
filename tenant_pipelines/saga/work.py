"""What a side of a step may ask for, by the names of its parameters."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tenant_pipelines.domain import ports
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.clock import Clock
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.saga.later import Later


@dataclass(frozen=True, slots=True)
class World:
    """The outside systems, each at hand or made later, and what rules over how tenants are made."""

    identity: ports.IdentityProvider | Later[ports.IdentityProvider]
    schemas: ports.SchemaStore | Later[ports.SchemaStore]
    store: ports.ObjectStore | Later[ports.ObjectStore]
    infrastructure: ports.Infrastructure | Later[ports.Infrastructure]
    platforms: Mapping[str, ports.Platform]
    dns: ports.NameService | Later[ports.NameService]
    billing: ports.Billing | Later[ports.Billing]
    mailer: ports.Mailer | Later[ports.Mailer]
    app_plane: ports.AppPlane | Later[ports.AppPlane]
    records: ports.Records
    rules: Rules
    clock: Clock


@dataclass(frozen=True, slots=True)
class Work:
    """One call of one side of one step.

    Args:
        tenant: as it is now. mark: its ownership mark.
        placement: the names recorded for this tenant (bucket, schema, workspace, ...).
        facts: what earlier steps of this execution found out.
        token: of the last Pending, or None on the first look.
        call: deadline, fence and idempotency key.
    """

    tenant: Tenant
    execution: Execution
    placement: Mapping[str, str]
    facts: Mapping[str, str]
    token: Mapping[str, str] | None
    call: Call
    world: World

    @property
    def mark(self) -> Mark:
        """The tenant's ownership mark."""
        return self.tenant.mark

    def given_to(self, side: Callable[..., Any]) -> dict[str, Any]:
        """The values for the side's parameters."""
        return {name: self._value(name) for name in inspect.signature(side).parameters}

    def _value(self, name: str) -> Any:  # noqa: ANN401 - checked against PARAMETERS when the step is declared
        if name in _OWN:
            return getattr(self, name)
        value = getattr(self.world, name)
        return value() if isinstance(value, Later) else value


_OWN = frozenset({"tenant", "execution", "placement", "facts", "token", "call", "mark"})
PARAMETERS = _OWN | {f.name for f in fields(World)}
"""Every name a side may have among its parameters."""
