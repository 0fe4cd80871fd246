"""What the outside systems have of a tenant: found by our mark with the product's own adapters, and by their own word.

Only looked at: the fence of these calls refuses every write.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import httpx

from resources.systems import outside_systems
from resources.world import world_of
from sandbox.demo.work import switch
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.saga.later import Later
from tenant_pipelines.settings import Settings

PATIENCE = 20.0

NAMES: Mapping[str, str] = {
    "keycloak": "Keycloak",
    "postgres": "PostgreSQL",
    "s3": "S3",
    "terraform": "Terraform",
    "kubernetes": "Kubernetes",
    "docker": "Docker",
    "dns": "DNS",
    "stripe": "Stripe",
    "novu": "Novu",
    "app_plane": "App plane",
}
"""Every system, in the order in which a provisioning comes to them, and what people call it."""

Value = TypeVar("Value")


class Systems:
    """The outside systems through the product's adapters.

    Args:
        given: the product's settings.
        database: the ledger's, which also has the resource rows.
        document: the contents of stack.json.
    """

    def __init__(self, given: Settings, database: Database, document: Mapping[str, Any]) -> None:
        self._world = world_of(given, database, outside_systems())
        self._prefix = given.s3_bucket_prefix
        self._document = document

    def by_mark(self, tenant: Tenant) -> dict[str, list[ObjectRef]]:
        """What carries the tenant's mark, system by system; Novu and the app plane have no marks to search by.

        Raises: failures of `domain.failures`.
        """
        world, mark, call = self._world, tenant.mark, _reading()
        name = f"tenant-{tenant.key}"
        found: Mapping[str, Sequence[ObjectRef]] = {
            "keycloak": _ready(world.identity).find(mark=mark, call=call),
            "postgres": [
                *_ready(world.schemas).find(mark=mark, call=call),
                *world.records.find(mark=mark, call=call),
            ],
            "s3": _ready(world.store).find(bucket=f"{self._prefix}{tenant.key}", mark=mark, call=call),
            "terraform": _ready(world.infrastructure).find(workspace=name, mark=mark, call=call),
            "kubernetes": world.platforms["kubernetes"].find(name=name, mark=mark, call=call),
            "docker": world.platforms["docker"].find(name=name, mark=mark, call=call),
            "dns": _ready(world.dns).find(domains=tenant.domains, mark=mark, call=call),
            "stripe": _ready(world.billing).find(mark=mark, call=call),
        }
        return {system: list(objects) for system, objects in found.items()}

    def by_key(self, key: str) -> dict[str, list[str]]:
        """What each system says it has that mentions the tenant's key, with or without our mark.

        Raises: httpx.HTTPError.
        """
        return {system: self._mentioning(system, key) for system in NAMES}

    def _mentioning(self, system: str, key: str) -> list[str]:
        url = f"{switch(self._document, system)}/_sandbox/state"
        answer = httpx.get(url, params={"tenant": key}, timeout=PATIENCE, trust_env=False).raise_for_status()
        return [f"{one['kind']} {one['name']}" for one in answer.json()["objects"]]


def _reading() -> Call:
    return Call(key="demo", deadline=time.monotonic() + PATIENCE, fence=_never)


def _never() -> None:
    raise AssertionError("the demo only looks")


def _ready(value: Value | Later[Value]) -> Value:
    return value() if isinstance(value, Later) else value
