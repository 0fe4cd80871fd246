"""Which launcher goes with which coordinator, and with which Dagster."""

import tomllib
from pathlib import Path

import dagster
import pytest
from dagster import DagsterInstance

from tenant_pipelines.operations.runs import NotSupported
from tenant_pipelines.runs import pairs
from tenant_pipelines.runs.gateway import DagsterRuns
from tenant_pipelines.runs.pairs import PINNED, SUPPORTED, refusal
from tests.runs.stage import instance_in_memory

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("launcher", "coordinator"),
    [
        ("WarmRunLauncher", "DefaultRunCoordinator"),
        ("WarmRunLauncher", "SyncInMemoryRunCoordinator"),
        ("DefaultRunLauncher", "QueuedRunCoordinator"),
        ("K8sRunLauncher", "DefaultRunCoordinator"),
        ("K8sRunLauncher", "QueuedRunCoordinator"),
    ],
)
def test_the_contracts_pairs_are_supported(launcher: str, coordinator: str) -> None:
    assert refusal(coordinator, launcher, PINNED) is None


@pytest.mark.parametrize(
    ("launcher", "coordinator"),
    [
        ("WarmRunLauncher", "QueuedRunCoordinator"),
        ("DefaultRunLauncher", "DefaultRunCoordinator"),
        ("DefaultRunLauncher", "SyncInMemoryRunCoordinator"),
        ("SyncInMemoryRunLauncher", "DefaultRunCoordinator"),
        ("DockerRunLauncher", "QueuedRunCoordinator"),
        ("WarmRunLauncher", "SomebodysRunCoordinator"),
    ],
)
def test_any_other_is_refused_with_what_is_set_what_is_supported_and_where_to_change_it(
    launcher: str, coordinator: str
) -> None:
    reason = refusal(coordinator, launcher, PINNED)

    assert reason is not None
    for said in (launcher, coordinator, *SUPPORTED, "run_launcher or run_coordinator in dagster.yaml"):
        assert said in reason


def test_another_dagster_is_refused_whatever_it_combines() -> None:
    reason = refusal("DefaultRunCoordinator", "WarmRunLauncher", "1.14.0")

    assert reason is not None
    assert f"Dagster 1.14.0 is installed, and this release works with {PINNED} only" in reason
    assert f"dagster=={PINNED}" in reason


def test_the_pinned_dagster_is_the_one_of_the_package() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert f"dagster=={PINNED}" in required
    assert dagster.__version__ == PINNED


def test_the_gateway_refuses_an_instance_that_is_not_set_up_as_it_needs() -> None:
    immediate = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
    with (
        instance_in_memory({"run_coordinator": immediate}) as instance,
        pytest.raises(NotSupported, match="DefaultRunLauncher with the run coordinator DefaultRunCoordinator"),
    ):
        DagsterRuns(instance, _no_job)


def test_an_instance_in_memory_needs_the_check_of_its_own() -> None:
    """As `dagster dev` without DAGSTER_HOME has it: its runs could not be launched from outside."""
    with DagsterInstance.ephemeral() as instance:
        with pytest.raises(NotSupported, match="SyncInMemoryRunLauncher"):
            DagsterRuns(instance, _no_job)
        DagsterRuns(instance, _no_job, check=lambda _: None)


def test_the_pair_is_read_without_making_either() -> None:
    """A launcher for Kubernetes reads the cluster's configuration when it is made."""
    with instance_in_memory({"run_launcher": {"module": "nowhere", "class": "K8sRunLauncher"}}) as instance:
        assert pairs.pair_of(instance) == ("QueuedRunCoordinator", "K8sRunLauncher")


def _no_job(name: str) -> dagster.JobDefinition:
    raise LookupError(name)
