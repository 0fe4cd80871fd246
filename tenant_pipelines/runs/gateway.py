"""Runs in Dagster, made with the ids that the ledger has decided on.

Semi-public names of Dagster are used here and nowhere else (`create_run_for_job`, `create_execution_plan`,
`RegisteredCodeLocationOrigin`); tests/runs pins each of them to the installed release.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, JobDefinition
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.execution.api import create_execution_plan
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from tenant_pipelines.domain.workflow import Kind
from tenant_pipelines.operations.runs import Launch, NotLaunched, RunState

LOCATION = "tenant_pipelines"
"""The code location's name in every workspace file."""
REPOSITORY = "__repository__"
DEFINITIONS = "tenant_pipelines.definitions"

JOB_OF = {
    Kind.FORWARD: "provision_tenant",
    Kind.CONTINUATION: "provision_tenant",
    Kind.ROLLBACK: "rollback_tenant",
}

_ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE}


class DagsterRuns:
    """Fulfils `operations.runs.Runs`.

    Args:
        instance: Dagster's. job: answers the job with that name, bound to its resources.
    """

    def __init__(self, instance: DagsterInstance, job: Callable[[str], JobDefinition]) -> None:
        self._instance = instance
        self._job = job

    def launch(self, launch: Launch) -> None:
        """Create the run and hand it over; again with the same id: only what is still missing.

        Raises: NotLaunched, whatever went wrong in Dagster or its database.
        """
        try:
            run = self._instance.get_run_by_id(str(launch.run_id)) or self._create(launch)
            if run.status is DagsterRunStatus.NOT_STARTED:
                self._instance.submit_run(run.run_id, None)  # type: ignore[arg-type]  # our coordinators do not ask
        except Exception as error:
            raise NotLaunched(f"run {launch.run_id}: {type(error).__name__}") from error

    def state(self, run_id: UUID) -> RunState:
        """How the run stands."""
        run = self._instance.get_run_by_id(str(run_id))
        if run is None:
            return RunState.MISSING
        if run.status is DagsterRunStatus.NOT_STARTED:
            return RunState.MISSING  # created and never handed over
        if run.status is DagsterRunStatus.CANCELED:
            return RunState.CANCELLED
        return RunState.ENDED if run.status in _ENDED else RunState.ALIVE

    def _create(self, launch: Launch) -> DagsterRun:
        name = JOB_OF[launch.kind]
        job = self._job(name)
        run_config = {"tenant_id": str(launch.execution.tenant_id)}
        steps = _from(job, launch.first_step) if launch.first_step else None
        plan = create_execution_plan(job, run_config, steps, instance_ref=self._instance.get_ref()) if steps else None
        root = str(launch.execution.id) if launch.run_id != launch.execution.id else None
        try:
            return self._instance.create_run_for_job(
                job,
                execution_plan=plan,
                run_id=str(launch.run_id),
                run_config=run_config,
                tags=tags_of(launch),
                root_run_id=root,
                parent_run_id=root,
                remote_job_origin=_remote_origin(name),
                job_code_origin=_code_origin(name),
            )
        except DagsterRunAlreadyExists:
            run = self._instance.get_run_by_id(str(launch.run_id))
            if run is None:
                raise
            return run


def tags_of(launch: Launch) -> Mapping[str, str]:
    """The contract's tags; continuations and rollbacks are grouped with the execution's first run in the UI."""
    execution = launch.execution
    tags = {
        "tenant_id": str(execution.tenant_id),
        "tenant_key": execution.tenant_key,
        "tier": execution.tier.value,
        "workflow_id": execution.workflow_id,
        "workflow_run_id": str(execution.id),
        "generation": str(execution.generation),
        "kind": launch.kind.value,
    }
    if launch.run_id != execution.id:
        tags |= {"dagster/root_run_id": str(execution.id), "dagster/parent_run_id": str(execution.id)}
    return tags


def _from(job: JobDefinition, first_step: str) -> list[str]:
    names = [node.name for node in job.nodes_in_topological_order]
    return names[names.index(first_step) :]


def _remote_origin(job: str) -> RemoteJobOrigin:
    location = RegisteredCodeLocationOrigin(location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)


def _code_origin(job: str) -> JobPythonOrigin:
    pointer = ModuleCodePointer(DEFINITIONS, "defs", working_directory=None)
    return JobPythonOrigin(job, RepositoryPythonOrigin("python", pointer, container_image=None, entry_point=None))
