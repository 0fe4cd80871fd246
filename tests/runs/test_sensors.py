"""The sensors, over runs of our real jobs on a real instance."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterRun, DagsterRunStatus, SensorResult

from sensors.guard import workflow_guard
from sensors.run_ends import run_cancelled, run_failed
from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.operations import reconcile
from tests.fakes.systems import Systems
from tests.runs.stage import Stage


@pytest.fixture
def guard(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[], SensorResult]:
    """A tick of the guard that waits for no row to come to rest."""
    monkeypatch.setattr(reconcile, "QUIET", 0.0)

    def tick() -> SensorResult:
        result = workflow_guard(dg.build_sensor_context(instance=stage.instance, resources={"desk": stage.desk}))
        assert isinstance(result, SensorResult)
        return result

    return tick


def test_a_failed_run_that_lost_its_worker_is_continued_at_once(stage: Stage) -> None:
    execution = stage.start(stage.tenant())
    lost = stage.lose_worker_after("provisioning_database", execution)

    _wake(run_failed, stage, lost)

    [continued] = stage.carry_out_queue()
    assert continued.tags["kind"] == "continuation"
    assert continued.status is DagsterRunStatus.SUCCESS


def test_a_run_terminated_before_it_began_is_a_cancel_and_leaves_nothing(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    execution = stage.start(tenant)
    stage.instance.run_coordinator.cancel_run(str(execution.id))

    _wake(run_cancelled, stage, stage.run(execution.id))
    stage.carry_out_queue()

    assert systems.of("acme") == set()
    assert stage.execution(stage.run(execution.id)).state is State.CANCELLED
    assert stage.ledger.tenant(tenant.id).status is Status.PROVISION_CANCELLED


def test_a_run_terminated_in_the_middle_is_rolled_back(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    execution = stage.start(tenant)
    stage.instance.report_run_canceled(stage.lose_worker_after("provisioning_storage", execution))

    _wake(run_cancelled, stage, stage.run(execution.id))
    [rollback] = stage.carry_out_queue()

    assert rollback.tags["kind"] == "rollback"
    assert systems.of("acme") == set()
    assert stage.ledger.tenant(tenant.id).status is Status.PROVISION_CANCELLED


@pytest.mark.parametrize("sensor", [run_failed, run_cancelled], ids=lambda sensor: sensor.name)
def test_a_run_that_never_joined_wakes_nothing(stage: Stage, sensor: dg.SensorDefinition) -> None:
    refused = stage.launch_by_hand(stage.tenant().id, steps=["creating_admin_user"])

    _wake(sensor, stage, refused)

    assert stage.queued() == []


def test_a_run_that_acts_no_more_for_its_execution_wakes_nothing(stage: Stage) -> None:
    execution = stage.start(stage.tenant())
    lost = stage.lose_worker_after("provisioning_database", execution)
    _wake(run_failed, stage, lost)

    _wake(run_failed, stage, lost)

    assert len(stage.queued()) == 1


def test_the_guard_starts_the_rollback_that_no_hook_has_started(
    stage: Stage, systems: Systems, guard: Callable[[], SensorResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    with monkeypatch.context() as dying:
        dying.setattr("resources.saga.roll_back_of_run", lambda *_, **__: None)
        stage.launch_by_hand(stage.tenant().id)
    assert stage.queued() == []

    guard()

    [rollback] = stage.carry_out_queue()
    assert rollback.tags["kind"] == "rollback"
    assert systems.of("acme") == set()


def test_the_guard_leaves_what_goes_on_by_itself_alone(stage: Stage, guard: Callable[[], SensorResult]) -> None:
    stage.start(stage.tenant())

    result = guard()

    assert len(stage.queued()) == 1
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == "1 running, 0 pushed on: -"
    assert result.cursor == ""


def test_what_both_guard_and_sensor_see_is_done_once(stage: Stage, guard: Callable[[], SensorResult]) -> None:
    execution = stage.start(stage.tenant())
    lost = stage.lose_worker_after("provisioning_database", execution)

    guard()
    _wake(run_failed, stage, lost)
    guard()

    assert len(stage.queued()) == 1


def _wake(sensor: dg.SensorDefinition, stage: Stage, run: DagsterRun) -> None:
    kind = DagsterEventType.RUN_CANCELED if sensor is run_cancelled else DagsterEventType.RUN_FAILURE
    sensor(
        dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_instance=stage.instance,
            dagster_run=run,
            dagster_event=DagsterEvent(kind.value, run.job_name),
            resources={"desk": stage.desk},
        )
    )
