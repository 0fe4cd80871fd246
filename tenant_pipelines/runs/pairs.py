"""Which run launcher goes with which run coordinator, and with which Dagster: anything else is refused at start.

A pair that is not in the list starts without a word, and loses or delays runs much later: the warm launcher behind
the queue waits for the daemon without need, the default launcher without the queue cannot start a run that was made
outside of the webserver.
"""

from collections.abc import Mapping

import dagster
from dagster import DagsterInstance

from tenant_pipelines.operations.runs import NotSupported

PINNED = "1.13.27"
"""The Dagster whose private names are held by tests; the same as in pyproject.toml."""

WARM = "WarmRunLauncher"
IMMEDIATE, QUEUED = "DefaultRunCoordinator", "QueuedRunCoordinator"

SUPPORTED: Mapping[str, tuple[str, ...]] = {
    WARM: (IMMEDIATE,),
    "DefaultRunLauncher": (QUEUED,),
    "K8sRunLauncher": (IMMEDIATE, QUEUED),
}
"""Launcher to coordinators, by the names of their classes."""

_ALIASES = {"SyncInMemoryRunCoordinator": IMMEDIATE}


def refusal(coordinator: str, launcher: str, version: str) -> str | None:
    """Why this Dagster is refused, with the way out; None when it is supported.

    Args: coordinator, launcher: names of classes. version: Dagster's.
    """
    if version != PINNED:
        return (
            f"Dagster {version} is installed, and this release works with {PINNED} only: it uses names of Dagster that "
            f"change without notice. Way out: install dagster=={PINNED}"
        )
    if _ALIASES.get(coordinator, coordinator) in SUPPORTED.get(launcher, ()):
        return None
    known = "; ".join(f"{one} with {' or '.join(others)}" for one, others in SUPPORTED.items())
    return (
        f"dagster.yaml sets the run launcher {launcher} with the run coordinator {coordinator}, which do not work "
        f"together here. Supported: {known}. Way out: change run_launcher or run_coordinator in dagster.yaml"
    )


def check(instance: DagsterInstance) -> None:
    """Raises: NotSupported."""
    if reason := refusal(*pair_of(instance), dagster.__version__):
        raise NotSupported(reason)


def pair_of(instance: DagsterInstance) -> tuple[str, str]:
    """The names of coordinator and launcher; neither is made where the instance's configuration tells."""
    if instance.is_persistent:
        ref = instance.get_ref()
        if ref.run_coordinator_data is not None and ref.run_launcher_data is not None:
            return ref.run_coordinator_data.class_name, ref.run_launcher_data.class_name
    return type(instance.run_coordinator).__name__, type(instance.run_launcher).__name__
