"""The fixtures of a stage; a conftest takes them over by importing them."""

from collections.abc import Iterator

import pytest
from dagster import DagsterInstance

from tenant_pipelines.settings import Settings
from tests.fakes.systems import Systems
from tests.runs.stage import Stage, queueing_instance
from tests.settings_values import settings_for_tests

__all__ = ["instance", "settings_for_tests", "stage", "systems"]


@pytest.fixture(scope="session")
def instance() -> Iterator[DagsterInstance]:
    with queueing_instance() as made:
        yield made


@pytest.fixture
def systems() -> Systems:
    return Systems()


@pytest.fixture
def stage(instance: DagsterInstance, settings_for_tests: Settings, systems: Systems) -> Iterator[Stage]:
    made = Stage(instance, settings_for_tests, systems)
    yield made
    made.close()
