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
        return _given(side, self, _OWN, self.world)


@dataclass(frozen=True, slots=True)
class Looking:
    """One look at what a parked step waits for.

    Args:
        mark: the tenant's. placement: the names recorded for it.
        token: of the Pending that it waits with.
        call: with a fence that lets nothing be written.
    """

    mark: Mark
    placement: Mapping[str, str]
    token: Mapping[str, str]
    call: Call
    world: World

    def given_to(self, side: Callable[..., Any]) -> dict[str, Any]:
        """The values for the side's parameters."""
        return _given(side, self, _OF_A_LOOK, self.world)


def _given(side: Callable[..., Any], source: object, own: frozenset[str], world: World) -> dict[str, Any]:
    """Each parameter's value; the names were checked when the step was declared."""
    return {name: _value(name, source if name in own else world) for name in inspect.signature(side).parameters}


def _value(name: str, source: object) -> Any:  # noqa: ANN401 - as above
    value = getattr(source, name)
    return value() if isinstance(value, Later) else value


_OWN = frozenset({"tenant", "execution", "placement", "facts", "token", "call", "mark"})
_OF_A_LOOK = frozenset({"mark", "placement", "token", "call"})
_WORLD = frozenset(f.name for f in fields(World))
PARAMETERS = _OWN | _WORLD
"""Every name a side may have among its parameters."""
PARAMETERS_OF_A_LOOK = _OF_A_LOOK | _WORLD
"""The same for a step's `look` side."""
