"""The product's definitions; every call to an adapter leaves a line with its begin and end in a file."""

import os
from pathlib import Path
from typing import Any

from benchmarks.timed_adapter import CALLS, TimedAdapter
from benchmarks.with_systems import with_systems
from resources.systems import outside_systems
from resources.world import world_of
from tenant_pipelines import settings
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.saga.work import World


class TimedSystem:
    """Stands where one of `resources.systems` does. Makes the adapter within the first call, as the product does."""

    def __init__(self, system: Any) -> None:  # noqa: ANN401 - any resource
        self._system = system

    def adapter(self) -> Any:  # noqa: ANN401 - any port's
        """As a resource of the product."""
        return TimedAdapter(self._system.adapter(), Path(os.environ[CALLS]))


RESOURCES = {name: TimedSystem(system) for name, system in outside_systems().items()}

defs = with_systems(RESOURCES)


def world(given: settings.Settings, database: Database) -> World:
    """For whoever looks at outside systems beside the runs."""
    return world_of(given, database, RESOURCES)
