"""Our product: ledger and Dagster on PostgreSQL, the warm workers, the code server, the daemon with its sensors.

The variants carry out the same jobs as Dagster does by itself: a process for each run, or for each step.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from benchmarks.contenders.lab import Lab
from benchmarks.contenders.processes import Place, wait_for
from benchmarks.contenders.team import WORKERS, Team
from benchmarks.idle_tenants import HOLDING
from sandbox.stack.folder import CHECKOUT, write_private
from sandbox.stack.generated import workspace
from sandbox.stack.names import CODE_SOCKET, LOCATION

IDLE, A_PROCESS_EACH = "benchmarks.idle_definitions", "benchmarks.multiprocess_definitions"
CLIENT = "benchmarks.contenders.programs.our_client"

AS_DAGSTER_COMES: dict[str, Any] = {
    "run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"},
    "run_coordinator": {
        "module": "dagster",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_interval_seconds": 1, "max_concurrent_runs": WORKERS},
    },
}

CAPTURED = {
    "module": "tenant_pipelines.runs.compute_logs",
    "class": "LocalComputeLogs",
    "config": {"base_dir": {"env": "DAGSTER_LOGS_STAGING"}},
}


@dataclass(frozen=True, slots=True)
class Ours:
    """One way to carry out our runs.

    Args: warm: by the pool, as shipped. definitions: the module of the code location.
    """

    name: str
    warm: bool
    definitions: str = IDLE
    stored: str = "PostgreSQL"

    @contextmanager
    def at_work(self, lab: Lab) -> Iterator[Team]:
        """Everything that carries out workflows, and a client; the databases keep what was there before."""
        folder = lab.folder("product" if self.warm else self.definitions.rpartition(".")[2])
        write_private(folder.dagster_home / "dagster.yaml", yaml.safe_dump(self._instance()))
        write_private(folder.workspace, workspace(folder))
        folder.open_sockets()
        socket = folder.sockets / CODE_SOCKET
        socket.unlink(missing_ok=True)
        place = Place(folder.home, {**lab.environment(folder), HOLDING: str(self.holding(lab))})
        with ExitStack() as stack:
            parts = {"postgres": lab.postgres}

            def begin(name: str, command: list[str | Path], there: Callable[[], bool] | None = None) -> None:
                process = stack.enter_context(place.process(name, [sys.executable, "-m", *command]))
                parts[name] = process.pid
                if there is not None:
                    wait_for(there, name, process)

            begin("code server", self._code_server(socket), socket.exists)
            begin("daemon", ["dagster._daemon", "run", "--workspace", folder.workspace])
            if self.warm:
                log = folder.home / "workers.log"
                seen = log.stat().st_size if log.exists() else 0
                begin("workers", self._pool(), lambda: b"ready" in log.read_bytes()[seen:])
            client = stack.enter_context(place.client(self.name, [sys.executable, "-m", CLIENT]))
            yield Team((client,), {**parts, "client": client.process.pid})

    @staticmethod
    def holding(lab: Lab) -> Path:
        """The file that holds deployments."""
        return lab.place / "product" / "held"

    def _instance(self) -> dict[str, Any]:
        """The product's dagster.yaml; what ops print is captured as it is shipped, and stays in files: no S3 here."""
        shipped: dict[str, Any] = yaml.safe_load((CHECKOUT / "dagster_home" / "dagster.yaml").read_text())
        del shipped["compute_logs"]
        if self.warm:
            return shipped | {"compute_logs": CAPTURED}
        stock = {"storage": {"postgres": shipped["storage"]["custom"]["config"]}}
        return shipped | AS_DAGSTER_COMES | stock

    def _code_server(self, socket: Path) -> list[str | Path]:
        command: list[str | Path] = ["dagster", "api", "grpc", "--socket", socket]
        command += ["--module-name", self.definitions, "--location-name", LOCATION]
        return [*command, "--use-python-environment-entry-point", "--log-level", "warning"]

    def _pool(self) -> list[str | Path]:
        return ["tenant_pipelines.launcher", "--size", str(WORKERS), "--definitions", self.definitions]


WARM = Ours("This product", warm=True)
A_RUN_EACH = Ours("Dagster's launcher", warm=False)
A_STEP_EACH = Ours("Dagster's defaults", warm=False, definitions=A_PROCESS_EACH)
