"""DBOS on the same PostgreSQL: a ceiling, since worker and client are one process and steps are plain calls in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.contenders.lab import Lab
from benchmarks.contenders.processes import Place
from benchmarks.contenders.team import WORKERS, Team
from benchmarks.contenders.temporal import PROGRAMS
from benchmarks.failures import NotDone


@dataclass(frozen=True, slots=True)
class Dbos:
    """Two processes; a single workflow is started in the first one."""

    name: str = "DBOS, in its client"
    stored: str = "PostgreSQL"

    @contextmanager
    def at_work(self, lab: Lab) -> Iterator[Team]:
        """Processes that are worker and client in one."""
        if lab.peers is None:
            raise NotDone("DBOS is not installed here")
        folder = lab.place / "dbos"
        folder.mkdir(exist_ok=True)
        place = Place(folder, lab.plain())
        url = lab.database_url("dbos")
        with ExitStack() as stack:
            clients = [
                stack.enter_context(
                    place.client(self.name, [lab.peers, "-m", f"{PROGRAMS}.dbos_peer", url, f"peer-{n}"])
                )
                for n in range(1, WORKERS + 1)
            ]
            workers = {f"worker {number}": client.process.pid for number, client in enumerate(clients, 1)}
            yield Team(tuple(clients), {"postgres": lab.postgres, **workers})
