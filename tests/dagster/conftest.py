"""Instances to try Dagster on."""

from collections.abc import Iterator

import pytest
from dagster import DagsterInstance

from tests.runs.stage import instance_in_memory, queueing_instance


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """One that is gone with the test, nothing on disk: enough for what a run itself does."""
    with DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as made:
        yield made


@pytest.fixture(scope="session")
def stored() -> Iterator[DagsterInstance]:
    """A persistent one that launches at once."""
    with instance_in_memory(
        {"run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}}
    ) as made:
        yield made


@pytest.fixture(scope="session")
def queueing() -> Iterator[DagsterInstance]:
    """A persistent one that queues, as ours."""
    with queueing_instance() as made:
        yield made
