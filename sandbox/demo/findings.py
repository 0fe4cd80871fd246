"""What is known about a tenant when its provisioning has ended, and whether it is as it must be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions
import httpx
import psycopg

from sandbox.demo.plan import Wanted
from sandbox.demo.proofs import Proofs, Wrong, missing, must_have
from sandbox.demo.systems import NAMES, Systems
from tenant_pipelines.domain.failures import Failure
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Status, Tenant
from tenant_pipelines.domain.workflow import Execution, Leftover

UNANSWERED = (Failure, httpx.HTTPError, psycopg.Error, botocore.exceptions.BotoCoreError)


@dataclass(frozen=True, slots=True)
class Row:
    """What one system has of the tenant.

    Args:
        system: its name for people.
        objects: what carries the tenant's mark there.
        mentioned: what mentions the tenant's key there; looked for only where nothing may be left.
        proof: what the system itself says when asked directly.
    """

    system: str
    objects: Sequence[str]
    mentioned: Sequence[str] = ()
    proof: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A tenant, as the ledger and the systems have it.

    Args:
        wrong: everything that is not as it must be, for people; empty when all is well.
    """

    wanted: Wanted
    tenant: Tenant
    execution: Execution
    rows: Sequence[Row]
    left_behind: Sequence[Leftover] = ()
    wrong: list[str] = field(default_factory=list[str])

    @property
    def lives(self) -> bool:
        """Whether it has been provisioned."""
        return self.tenant.status is Status.ACTIVE

    @property
    def seconds(self) -> float:
        """From the start of its execution to its end, the wait for a worker included."""
        closed = self.execution.closed_at or self.execution.updated_at
        return (closed - self.execution.started_at).total_seconds()

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "key": self.tenant.key,
            "name": self.tenant.name,
            "tier": self.tenant.tier.value,
            "status": self.tenant.status.name,
            "seconds": round(self.seconds, 1),
            "url": self.tenant.metadata.get("appPlaneUrl"),
            "failedStep": self.execution.failed_step,
            "error": self.execution.error,
            "systems": [
                {"system": row.system, "objects": [*row.objects], "mentioned": [*row.mentioned], "proof": row.proof}
                for row in self.rows
            ],
            "wrong": self.wrong,
        }


def of_living(wanted: Wanted, tenant: Tenant, execution: Execution, systems: Systems, proofs: Proofs) -> Finding:
    """Look at everything that an active tenant has."""
    wrong = [] if tenant.status is Status.ACTIVE else [f"the tenant is {tenant.status.name}, not ACTIVE"]
    try:
        found = systems.by_mark(tenant)
    except UNANSWERED as error:
        return Finding(wanted, tenant, execution, [], wrong=[*wrong, str(error)])
    lacking = missing(tenant, found)
    wrong += [f"{NAMES[system]}: {one}" for system, said in lacking.items() for one in said]
    rows: list[Row] = []
    for system, kinds in must_have(tenant).items():
        if kinds and system not in lacking:
            proof = _asked(proofs, system, tenant, found[system], wrong)
            rows.append(Row(NAMES[system], _listed(found[system]), proof=proof))
    return Finding(wanted, tenant, execution, rows, wrong=wrong)


def of_failed(
    wanted: Wanted, tenant: Tenant, execution: Execution, systems: Systems, left: Sequence[Leftover]
) -> Finding:
    """Look for what is left of a tenant whose provisioning was rolled back."""
    wrong = [f"{one.system}: {one.kind} {one.name} is listed as left behind" for one in left]
    if tenant.status is not Status.PROVISION_FAILED:
        wrong.append(f"the tenant is {tenant.status.name}, not PROVISION_FAILED")
    if execution.failed_step != wanted.fails_at:
        wrong.append(f"it failed at {execution.failed_step or 'no step'}, not at {wanted.fails_at}")
    try:
        marked, mentioned = systems.by_mark(tenant), systems.by_key(tenant.key)
    except UNANSWERED as error:
        return Finding(wanted, tenant, execution, [], left, [*wrong, str(error)])
    rows = [Row(name, _listed(marked.get(key, ())), mentioned[key]) for key, name in NAMES.items()]
    wrong += [f"{row.system}: {one} is left" for row in rows for one in dict.fromkeys([*row.objects, *row.mentioned])]
    return Finding(wanted, tenant, execution, rows, left, wrong)


def _asked(proofs: Proofs, system: str, tenant: Tenant, found: Sequence[ObjectRef], wrong: list[str]) -> str:
    try:
        return proofs.ask(system, tenant, found)
    except Wrong as said:
        wrong.append(f"{NAMES[system]}: {said}")
        return str(said)
    except UNANSWERED as error:
        wrong.append(f"{NAMES[system]}: {type(error).__name__}")
        return "no answer"


def _listed(found: Sequence[ObjectRef]) -> list[str]:
    """Named one by one, except rows and Terraform's resources, of which there are many."""
    counted = {"row": "resource rows", "resource": "resources"}
    named = [_named(ref) for ref in found if ref.kind not in counted]
    for kind, words in counted.items():
        if number := sum(ref.kind == kind for ref in found):
            named.append(f"{number} {words}")
    return named


def _named(ref: ObjectRef) -> str:
    return f"{ref.kind} {ref.id if ref.system == 'stripe' else ref.name}"
