"""The fixtures of a light stage; a test file takes them over by importing them."""

from collections.abc import Iterator

import psycopg
import pytest

from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches
from tests.launcher.pools import LightStage, PoolProcess
from tests.operations.stage import control_plane

__all__ = ["control_plane", "light", "pool", "stage"]


@pytest.fixture(scope="module")
def stage(control_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightStage]:
    """One queue for the tests of a file."""
    database = Database(control_plane, patience=5)
    made = LightStage(control_plane, tmp_path_factory.mktemp("light"), Launches(database))
    yield made
    made.close()
    database.close()


@pytest.fixture
def light(stage: LightStage) -> Iterator[LightStage]:
    """The queue is empty; the pools that a test makes end with it."""
    with psycopg.connect(stage.url) as connection:
        connection.execute("delete from engine.launches")
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def pool(stage: LightStage) -> Iterator[PoolProcess]:
    """One pool of three workers for all tests of a file, impatient."""
    command = stage.command(size=3, silence=1.5, stopped=0.5, kill_after=1.0)
    made = PoolProcess(command, stage.environment)
    made.await_line("ready: ")
    yield made
    made.close()
