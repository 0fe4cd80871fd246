"""The work itself: faults are armed, tenants created and started, and followed in the ledger until they have ended."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from sandbox.demo.plan import Wanted
from sandbox.stack.failure import StackFailure
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.operations import start, tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant

LOOK_EVERY = 0.2
LONGEST = 180.0
"""Seconds after which it is not worth while to wait for a tenant any longer."""

DEMO = Claimant("demo", "cli", "make demo")


class Halted(Exception):
    """The demo was told to stop."""


def arm(wanted: Sequence[Wanted], document: Mapping[str, Any]) -> None:
    """Put each tenant's faults into the switches.

    Args: document: the contents of stack.json.
    Raises: StackFailure when there is no such system, or it does not know such a fault.
    """
    faults: dict[str, list[dict[str, Any]]] = {}
    for tenant in wanted:
        for system, given in tenant.faults.items():
            faults.setdefault(system, []).extend({**fault, "tenant": tenant.key} for fault in given)
    for system, armed in faults.items():
        if system not in document["services"]:
            raise StackFailure(f"There is no system {system}, for which a tenant has faults.")
        answer = httpx.put(f"{switch(document, system)}/_sandbox/faults", json=armed, timeout=10, trust_env=False)
        if answer.status_code != 200:
            raise StackFailure(f"The switch of {system} refuses the faults: {answer.json().get('error')}")


def switch(document: Mapping[str, Any], system: str) -> str:
    """Where a system's fault switch is."""
    place = document["services"][system]
    return str(place.get("sandbox_url", place["url"]))


def begin(desk: Desk, wanted: Wanted, plans: Mapping[str, Tier]) -> Execution:
    """Create the tenant and start its provisioning.

    Raises: Refused.
    """
    new = new_tenant(
        key=wanted.key,
        name=wanted.name,
        admin_email=wanted.admin_email,
        admin_first_name=wanted.admin_first_name,
        admin_last_name=wanted.admin_last_name,
        plan_id=wanted.plan_id,
        plans=plans,
    )
    return start.start(desk, tenants.create(desk, new, DEMO).id, DEMO)


def follow(
    desk: Desk, begun: Sequence[Execution], show: Callable[[Execution], None], halted: threading.Event
) -> list[Execution]:
    """Show how they stand until all of them have ended; answers them as they are then.

    Raises: Halted; StackFailure when they take too long.
    """
    wanted = {execution.id for execution in begun}
    deadline = time.monotonic() + LONGEST
    while True:
        now = [one for one in desk.ledger.executions(limit=len(wanted) + 50) if one.id in wanted]
        for one in now:
            show(one)
        if all(one.state.closed for one in now):
            return now
        if time.monotonic() > deadline:
            still = ", ".join(f"{one.tenant_key} ({one.message})" for one in now if not one.state.closed)
            raise StackFailure(f"Not ended after {LONGEST:.0f} s: {still}. See the logs in .local/demo/.local/logs.")
        if halted.wait(LOOK_EVERY):
            raise Halted
