"""Sensors: a wake-up, and no queue that could be relied on."""

import dagster as dg
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.definitions import run_status_sensor_definition as run_status
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._daemon import sensor as daemon

from tests.dagster.toys import TOY, carried_out


class Watched:
    """A run status sensor that may raise, and its ticks as the daemon makes them."""

    def __init__(self, instance: DagsterInstance) -> None:
        self.instance = instance
        self.raises = False
        self.seen: list[str] = []

        @dg.run_status_sensor(name="watched", run_status=DagsterRunStatus.FAILURE)
        def watched(context: dg.RunStatusSensorContext) -> None:
            self.seen.append(context.dagster_run.run_id)
            if self.raises:
                raise ConnectionError("the ledger is away")

        self.sensor = watched
        self.repository = dg.Definitions(jobs=[TOY], sensors=[watched]).get_repository_def()
        self.cursor: str | None = None

    def tick(self) -> SensorExecutionData:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=self.repository, sensor_name="watched"
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data


@pytest.fixture
def watched(stored: DagsterInstance) -> Watched:
    made = Watched(stored)
    made.tick()
    return made


def test_a_run_status_sensor_sees_a_run_that_failed(stored: DagsterInstance, watched: Watched) -> None:
    run = carried_out(stored)

    watched.tick()

    assert watched.seen == [run.run_id]


def test_a_run_status_sensor_that_raises_never_sees_that_run_again(stored: DagsterInstance, watched: Watched) -> None:
    """Why the guard scans our own table."""
    first = carried_out(stored)
    watched.raises = True
    watched.tick()
    watched.raises = False

    watched.tick()
    assert watched.seen == [first.run_id]

    second = carried_out(stored)
    watched.tick()
    assert watched.seen == [first.run_id, second.run_id]


def test_a_new_run_status_sensor_does_not_see_what_was_before_it(stored: DagsterInstance) -> None:
    carried_out(stored)
    watched = Watched(stored)

    watched.tick()
    watched.tick()

    assert watched.seen == []


def test_the_daemon_looks_at_sensors_every_five_seconds_whatever_they_ask_for() -> None:
    assert daemon.MIN_INTERVAL_LOOP_TIME == 5


def test_a_run_status_sensor_takes_five_runs_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT", raising=False)

    assert run_status._get_run_status_sensor_process_limit() == 5
