"""The gateway to Dagster, on a real instance with our real jobs."""

from uuid import UUID, uuid4, uuid5

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.workflow import Kind, State
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.runs import Launch, NotLaunched, Runs, RunState
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.systems import Systems
from tests.runs.stage import Stage

STEPS = [step.name for step in PROVISIONING.steps]

STATE_OF = {
    DagsterRunStatus.NOT_STARTED: RunState.MISSING,
    DagsterRunStatus.MANAGED: RunState.ALIVE,
    DagsterRunStatus.QUEUED: RunState.ALIVE,
    DagsterRunStatus.STARTING: RunState.ALIVE,
    DagsterRunStatus.STARTED: RunState.ALIVE,
    DagsterRunStatus.SUSPENDED: RunState.ALIVE,
    DagsterRunStatus.CANCELING: RunState.ALIVE,
    DagsterRunStatus.SUCCESS: RunState.ENDED,
    DagsterRunStatus.FAILURE: RunState.ENDED,
    DagsterRunStatus.CANCELED: RunState.CANCELLED,
}


def test_it_fulfils_the_operations_protocol(stage: Stage) -> None:
    runs: Runs = stage.runs

    assert runs.state(uuid4()) is RunState.MISSING


# Launching


def test_a_launch_makes_the_run_with_our_id_config_and_tags_and_queues_it(stage: Stage) -> None:
    tenant = stage.tenant()

    execution = stage.start(tenant)

    run = stage.run(execution.id)
    assert run.job_name == "provision_tenant"
    assert run.status is DagsterRunStatus.QUEUED
    assert run.run_config == {"tenant_id": str(tenant.id)}
    assert run.step_keys_to_execute == STEPS
    assert {name: value for name, value in run.tags.items() if not name.startswith("dagster/")} == {
        "tenant_id": str(tenant.id),
        "tenant_key": "acme",
        "tier": "silo",
        "workflow_id": f"provision-tenant-{tenant.id}",
        "workflow_run_id": str(execution.id),
        "generation": "1",
        "kind": "forward",
    }
    assert (run.root_run_id, run.parent_run_id) == (None, None)


def test_a_launched_run_names_the_code_location_that_a_daemon_looks_it_up_in(stage: Stage) -> None:
    run = stage.run(stage.start(stage.tenant()).id)

    assert run.remote_job_origin is not None
    assert run.remote_job_origin.repository_origin.code_location_origin.location_name == "tenant_pipelines"
    assert run.remote_job_origin.repository_origin.repository_name == "__repository__"
    assert run.remote_job_origin.job_name == "provision_tenant"


def test_a_second_launch_with_the_same_id_does_nothing_more(stage: Stage) -> None:
    execution = stage.start(stage.tenant())

    stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))

    assert len(stage.instance.get_runs()) == 1
    assert _enqueued(stage, execution.id) == 1


def test_a_launch_of_a_run_that_has_ended_does_not_start_it_again(stage: Stage, systems: Systems) -> None:
    execution = stage.start(stage.tenant())
    stage.carry_out(execution.id)
    calls = list(systems.calls)

    stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))

    assert stage.run(execution.id).status is DagsterRunStatus.SUCCESS
    assert stage.queued() == []
    assert systems.calls == calls


def test_a_run_that_was_made_and_never_handed_over_is_handed_over_by_the_next_launch(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(DagsterInstance, "submit_run", lambda *_: None)
        execution = stage.start(stage.tenant())
    assert stage.run(execution.id).status is DagsterRunStatus.NOT_STARTED
    assert stage.runs.state(execution.id) is RunState.MISSING

    assert reconcile(stage.desk, execution, by="guard") is Push.LAUNCH

    assert stage.run(execution.id).status is DagsterRunStatus.QUEUED
    assert _enqueued(stage, execution.id) == 1


def test_two_who_make_the_same_run_at_once_get_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = stage.start(stage.tenant())
    look = stage.instance.get_run_by_id
    blind = [True]

    def unseen_at_first(run_id: str) -> DagsterRun | None:
        return None if blind and blind.pop() else look(run_id)

    monkeypatch.setattr(stage.instance, "get_run_by_id", unseen_at_first)

    stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))

    assert not blind
    assert len(stage.instance.get_runs()) == 1
    assert _enqueued(stage, execution.id) == 1


@pytest.mark.parametrize("away", ["get_run_by_id", "add_run", "submit_run"])
def test_a_launch_that_dagster_cannot_take_is_said_to_be_one_and_can_be_made_up_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    execution = stage.start(stage.tenant())
    stage.instance.delete_run(str(execution.id))

    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("fake-secret in the words of a driver")

    with monkeypatch.context() as dying:
        dying.setattr(DagsterInstance, away, fails)
        with pytest.raises(NotLaunched) as lost:
            stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))

    assert str(execution.id) in str(lost.value)
    assert "fake-secret" not in str(lost.value)
    stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))
    assert stage.run(execution.id).status is DagsterRunStatus.QUEUED


# Looking


@pytest.mark.parametrize("status", DagsterRunStatus, ids=lambda status: status.value)
def test_every_status_of_dagster_is_one_of_ours(stage: Stage, status: DagsterRunStatus) -> None:
    launched = stage.run(stage.start(stage.tenant()).id)
    run = stage.instance.create_run_for_job(
        stage.job("provision_tenant"),
        run_config=launched.run_config,
        status=status,
        remote_job_origin=launched.remote_job_origin,
        job_code_origin=launched.job_code_origin,
    )

    assert stage.runs.state(UUID(run.run_id)) is STATE_OF[status]


# Continuing and rolling back


@pytest.mark.parametrize("first", [STEPS[0], STEPS[5], STEPS[-1]])
def test_a_continuation_has_exactly_the_steps_from_there_on(stage: Stage, first: str) -> None:
    execution = stage.start(stage.tenant())
    run_id = uuid5(execution.id, "run:2")

    stage.runs.launch(Launch(run_id, execution, Kind.CONTINUATION, first))

    run = stage.run(run_id)
    assert run.job_name == "provision_tenant"
    assert run.status is DagsterRunStatus.QUEUED
    assert run.step_keys_to_execute == STEPS[STEPS.index(first) :]
    assert run.tags["kind"] == "continuation"
    assert run.tags["workflow_run_id"] == str(execution.id)


def test_a_lost_worker_is_continued_at_the_first_open_step_and_nothing_is_done_twice(
    stage: Stage, systems: Systems
) -> None:
    execution = stage.start(stage.tenant())
    lost = stage.lose_worker_after("provisioning_database", execution)
    assert stage.runs.state(execution.id) is RunState.ENDED
    assert "bucket" not in systems.calls

    assert reconcile(stage.desk, stage.execution(lost), by="guard") is Push.CONTINUE

    [continued] = stage.carry_out_queue()
    assert stage.steps(continued) == STEPS[STEPS.index("provisioning_storage") :]
    assert continued.status is DagsterRunStatus.SUCCESS
    assert systems.calls.count("organization") == 1
    assert systems.calls.count("bucket") == 1
    assert stage.execution(lost).waiting_until is not None


def test_a_continued_run_keeps_the_tags_it_was_made_with(stage: Stage) -> None:
    execution = stage.start(stage.tenant())
    reconcile(stage.desk, stage.execution(stage.lose_worker_after(STEPS[2], execution)), by="guard")

    [continued] = stage.carry_out_queue()

    assert continued.tags["kind"] == "continuation"
    assert continued.tags["workflow_run_id"] == str(execution.id)


def test_a_rollback_is_grouped_with_the_first_run(stage: Stage, systems: Systems) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    execution = stage.start(stage.tenant())
    stage.carry_out(execution.id)

    [rollback] = stage.carry_out_queue()

    assert rollback.job_name == "rollback_tenant"
    assert rollback.tags["kind"] == "rollback"
    assert _group(stage, execution.id) == {str(execution.id), rollback.run_id}
    assert stage.execution(rollback).state is State.FAILED


def test_continuation_and_rollback_of_one_execution_are_one_group(stage: Stage, systems: Systems) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    execution = stage.start(stage.tenant())
    lost = stage.lose_worker_after("provisioning_database", execution)
    reconcile(stage.desk, stage.execution(lost), by="guard")
    [continued] = stage.carry_out_queue()

    [rollback] = stage.carry_out_queue()

    assert _group(stage, execution.id) == {str(execution.id), continued.run_id, rollback.run_id}
    assert systems.of("acme") == set()


def _enqueued(stage: Stage, run_id: UUID) -> int:
    return len(stage.instance.all_logs(str(run_id), of_type=DagsterEventType.PIPELINE_ENQUEUED))


def _group(stage: Stage, run_id: UUID) -> set[str]:
    group = stage.instance.get_run_group(str(run_id))
    assert group is not None
    return {run.run_id for run in group[1]}
