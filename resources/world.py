"""The outside systems as a run needs them: each adapter is made, and its client library loaded, when first used."""

from collections.abc import Mapping
from typing import Any

from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.resource_records import ResourceRecords
from tenant_pipelines.saga.later import Later, LaterMapping
from tenant_pipelines.saga.work import World
from tenant_pipelines.settings import Settings


def world_of(given: Settings, database: Database, systems: Mapping[str, Any]) -> World:
    """The world.

    Args: systems: the resources of `resources.systems`, by their names in `tenant_pipelines.definitions`.
    """

    def later(name: str) -> Later[Any]:
        return Later(systems[name].adapter)

    return World(
        identity=later("identity"),
        schemas=later("schemas"),
        store=later("store"),
        infrastructure=later("infrastructure"),
        platforms=LaterMapping({name: later(name) for name in ("kubernetes", "docker")}),
        dns=later("dns"),
        billing=later("billing"),
        mailer=later("mailer"),
        app_plane=later("app_plane"),
        records=ResourceRecords(database),
        rules=given.rules(),
        clock=SystemClock(),
    )
