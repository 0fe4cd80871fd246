"""What a process keeps open from run to run: the connections to the ledger, and the adapters with theirs."""

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.world import world_of
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.saga.work import World
from tenant_pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """Under which settings, from resources of which classes, by which process."""

    given: Settings
    systems: Mapping[str, type]
    process: int
    database: Database
    world: World


class Lasting:
    """Opens it for the first run, and again when the settings have changed meanwhile (a secret that was replaced).

    Not for two runs at a time in one process.
    """

    def __init__(self) -> None:
        self._opened: Opened | None = None

    def opened(self, given: Settings, systems: Mapping[str, Any]) -> Opened:
        """As set.

        Args: systems: as for `world_of`.
        """
        held, classes = self._opened, {name: type(system) for name, system in systems.items()}
        if held is not None and (held.process, held.given, held.systems) == (os.getpid(), given, classes):
            return held
        self.close()
        database = Database(given.database_url.get_secret_value())
        opened = Opened(given, classes, os.getpid(), database, world_of(given, database, systems))
        if held is None:
            atexit.register(self.close)
        self._opened = opened
        return opened

    def close(self) -> None:
        """Close the connections to the ledger, unless they are those of the process that this one is a copy of."""
        held, self._opened = self._opened, None
        if held is not None and held.process == os.getpid():
            held.database.close()
