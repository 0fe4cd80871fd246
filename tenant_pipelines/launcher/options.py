"""How a pool is to be."""

from dataclasses import dataclass, field

from tenant_pipelines.settings import Settings

DEFINITIONS = "tenant_pipelines.definitions"


@dataclass(frozen=True, slots=True)
class Options:
    """Of one pool. Times are in seconds, memory in bytes.

    Args:
        url: of the ledger's database, as the role control_plane.
        definitions: the module with the one `dagster.Definitions`.
        size: workers. max_runs, max_memory: after either of them a worker is replaced.
        silence: without a sign of life for so long, a worker is lost. stopped: the same for one that is stopped.
        kill_after: from an interrupt to SIGKILL. drain: how long a pool that ends waits for its runs.
        former: how long workers of a pool that is gone may take to hand over. begin: to become ready.
    """

    url: str = field(repr=False)
    definitions: str = DEFINITIONS
    size: int = 2
    max_runs: int = 500
    max_memory: int = 512 * 1024**2
    silence: float = 10.0
    stopped: float = 2.0
    kill_after: float = 10.0
    drain: float = 30.0
    former: float = 5.0
    begin: float = 60.0


def options_of(given: Settings, *, size: int | None = None, definitions: str | None = None) -> Options:
    """As the settings say, but for what the command line says."""
    return Options(
        url=given.database_url.get_secret_value(),
        definitions=definitions or DEFINITIONS,
        size=size or given.workers,
        max_runs=given.worker_max_runs,
        max_memory=given.worker_max_memory,
        silence=given.worker_silence,
        kill_after=given.worker_kill_after,
        drain=given.worker_drain,
    )
