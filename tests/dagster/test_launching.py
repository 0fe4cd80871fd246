"""Making a run and handing it over, from any process."""

from uuid import uuid4

import dagster as dg
import grpc  # type: ignore[import-untyped]
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.run_coordinator import DefaultRunCoordinator, QueuedRunCoordinator
from dagster_graphql.schema import create_schema
from dagster_shared.check import CheckError

from tests.dagster.events import steps_with
from tests.dagster.toys import TOY, code_origin, remote_origin


def test_a_second_run_with_the_same_id_is_refused(queueing: DagsterInstance) -> None:
    """What makes a launch with an id of ours idempotent."""
    run_id = str(uuid4())
    queueing.create_run_for_job(TOY, run_id=run_id)

    with pytest.raises(DagsterRunAlreadyExists):
        queueing.create_run_for_job(TOY, run_id=run_id)


def test_a_run_can_be_handed_to_the_queue_without_a_workspace(queueing: DagsterInstance) -> None:
    run = _create(queueing)

    queueing.submit_run(run.run_id, None)  # type: ignore[arg-type]

    assert isinstance(queueing.run_coordinator, QueuedRunCoordinator)
    assert queueing.get_run_by_id(run.run_id).status is DagsterRunStatus.QUEUED  # type: ignore[union-attr]


def test_handing_a_run_over_twice_queues_it_once(queueing: DagsterInstance) -> None:
    run = _create(queueing)

    queueing.submit_run(run.run_id, None)  # type: ignore[arg-type]
    queueing.submit_run(run.run_id, None)  # type: ignore[arg-type]

    assert len(steps_with(queueing, run.run_id, DagsterEventType.PIPELINE_ENQUEUED)) == 1


def test_without_the_queue_a_launch_needs_a_workspace_and_fails_the_run(stored: DagsterInstance) -> None:
    """Hence the queue in every dagster.yaml of ours."""
    run = _create(stored)
    assert isinstance(stored.run_coordinator, DefaultRunCoordinator)

    with pytest.raises(Exception, match="workspace"):
        stored.submit_run(run.run_id, None)  # type: ignore[arg-type]

    assert stored.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]


@pytest.mark.parametrize("missing", ["remote_job_origin", "job_code_origin"])
def test_a_run_without_its_origins_cannot_be_handed_over(queueing: DagsterInstance, missing: str) -> None:
    given = {"remote_job_origin": remote_origin(TOY.name), "job_code_origin": code_origin(TOY.name), missing: None}
    run = queueing.create_run_for_job(TOY, **given)  # type: ignore[arg-type]

    with pytest.raises(CheckError):
        queueing.submit_run(run.run_id, None)  # type: ignore[arg-type]


def test_a_code_location_that_is_only_named_survives_storage(queueing: DagsterInstance) -> None:
    run = queueing.get_run_by_id(_create(queueing).run_id)

    assert run is not None
    assert run.remote_job_origin == remote_origin(TOY.name)
    assert run.job_code_origin == code_origin(TOY.name)


def test_a_run_made_without_the_webserver_has_no_origins_to_copy(queueing: DagsterInstance) -> None:
    run = queueing.create_run_for_job(TOY)

    assert (run.remote_job_origin, run.job_code_origin) == (None, None)


def test_a_job_is_bound_to_its_resources_only_when_it_is_asked_of_the_definitions() -> None:
    @dg.op(required_resource_keys={"word"})
    def say(context: dg.OpExecutionContext) -> str:
        return str(context.resources.word)

    @dg.job(executor_def=dg.in_process_executor)
    def saying() -> None:
        say()

    bound = dg.Definitions(jobs=[saying], resources={"word": "bound"}).resolve_job_def("saying")

    assert bound.execute_in_process().output_for_node("say") == "bound"
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="word"):
        saying.execute_in_process()


def test_the_launch_mutation_takes_no_run_id() -> None:
    types = create_schema().graphql_schema.type_map
    given = [name for kind in ("ExecutionParams", "ExecutionMetadata") for name in types[kind].fields]

    assert "rootRunId" in given
    assert "runId" not in given


def test_a_port_that_is_served_can_be_bound_by_a_second_server() -> None:
    """Why a second code server starts silently, and the stack looks before it starts one."""
    servers = [grpc.server(None) for _ in range(2)]

    first = servers[0].add_insecure_port("127.0.0.1:0")
    second = servers[1].add_insecure_port(f"127.0.0.1:{first}")

    assert second == first


def _create(instance: DagsterInstance) -> dg.DagsterRun:
    return instance.create_run_for_job(
        TOY, remote_job_origin=remote_origin(TOY.name), job_code_origin=code_origin(TOY.name)
    )
