"""The fixtures of a warm stage; a test file takes them over by importing them. Its tests share instance and ledger."""

from collections.abc import Iterator

import psycopg
import pytest
from dagster import DagsterInstance

from tenant_pipelines import settings
from tenant_pipelines.settings import Settings
from tests.fakes.systems import Systems
from tests.launcher.warm_stage import WarmStage, warm_instance
from tests.settings_values import environment

__all__ = ["systems", "warm", "warm_dagster", "warm_settings"]


@pytest.fixture
def systems() -> Systems:
    return Systems()


@pytest.fixture(scope="module")
def warm_settings(shared_database: str) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(database_url=shared_database, provisioner_database_url=shared_database).items():
            patch.setenv(name, value)
        yield settings.load()


@pytest.fixture(scope="module")
def warm_dagster(warm_settings: Settings) -> Iterator[DagsterInstance]:
    with warm_instance() as made:
        assert made.run_launcher  # it takes its URL from the environment, which each test is cleared of
        yield made


@pytest.fixture
def warm(warm_dagster: DagsterInstance, warm_settings: Settings, systems: Systems) -> Iterator[WarmStage]:
    """Its queue is empty, and nothing of an earlier test goes on."""
    with psycopg.connect(warm_settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("delete from engine.launches")
        connection.execute("update engine.executions set state = 'failed', closed_at = now() where closed_at is null")
    made = WarmStage(warm_dagster, warm_settings, systems)
    yield made
    made.database.close()
