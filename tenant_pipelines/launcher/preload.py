"""Loads once what every worker needs, so that each of them is a copy (fork) that is ready in milliseconds."""

import contextlib
import gc
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

VARIABLE = "TENANT_PIPELINES_WORKERS_PRELOAD"
"""Tells the process that workers are copies of which module holds the definitions."""

NEEDED_BY_WORKERS = (
    "dagster._core.instance.ref",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.fs_io_manager",
    "dagster_postgres",
    "psycopg_pool",
    "psycopg2",
    "tenant_pipelines.launcher.execution",
    "tenant_pipelines.launcher.worker",
)
"""What a worker imports at the latest when it has a run."""


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What came of it.

    Args: definitions: the module's name. error: why it cannot be imported, else None.
    """

    definitions: str
    error: str | None = None

    @property
    def reason(self) -> str | None:
        """The same for people; None where it can be imported."""
        return None if self.error is None else f"code location {self.definitions} cannot be imported: {self.error}"


def preload(definitions: str) -> Preloaded:
    """Import the definitions, resolve their jobs, and keep what is there away from garbage collection.

    Opens no connection and starts no thread, which copies could not share. Raises nothing for what definitions or
    dagster.yaml do: workers say it, each in its place.
    """
    for name in NEEDED_BY_WORKERS:
        importlib.import_module(name)
    _import_what_dagster_yaml_names()
    found = import_definitions(definitions)
    if found.error is None:
        _load_clients(definitions)
    _try_a_run()
    gc.collect()
    gc.freeze()  # a collection would write into every page, and so copy it into each worker
    return found


def import_definitions(definitions: str) -> Preloaded:
    """Import them and resolve their jobs, and nothing else."""
    from tenant_pipelines.launcher.execution import jobs_of  # noqa: PLC0415 - brings Dagster

    try:
        jobs_of(definitions)
    except Exception as error:
        return Preloaded(definitions, f"{type(error).__name__}: {error}")
    except SystemExit as error:
        return Preloaded(definitions, f"it ends the process (SystemExit: {error})")
    return Preloaded(definitions)


def _load_clients(definitions: str) -> None:
    """What the definitions' `load_clients` loads: client libraries, some 50 MiB a worker that copies then share.

    What is wrong with one is said by the step that needs it.
    """
    load = getattr(importlib.import_module(definitions), "load_clients", None)
    with contextlib.suppress(Exception):
        if load is not None:
            load()


def _import_what_dagster_yaml_names() -> None:
    """Launcher, coordinator, storage: what is wrong with it is said by the worker that opens the instance."""
    try:
        configured = yaml.safe_load((Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml").read_text())
        for name in modules_in(configured):
            importlib.import_module(name)
    except Exception:
        return


def modules_in(configured: Any) -> Iterator[str]:  # noqa: ANN401 - whatever YAML can say
    """The values of every key `module`, however deep."""
    if isinstance(configured, dict):
        if isinstance(configured.get("module"), str):
            yield configured["module"]
        for value in configured.values():
            yield from modules_in(value)


def _try_a_run() -> None:
    """Carry out a run of nothing, on an instance that is gone with it: Dagster imports half of itself only then."""
    import dagster  # noqa: PLC0415 - see above

    from tenant_pipelines.launcher.execution import carry_out_nothing  # noqa: PLC0415

    quiet = {"telemetry": {"enabled": False}, "python_logs": {"python_log_level": "CRITICAL"}}
    with dagster.DagsterInstance.ephemeral(settings=quiet) as instance:
        carry_out_nothing(instance)
