"""Makes Dagster runs under the ids that the ledger has decided on.

Dagster works out a job's plan and its snapshots for each new run, which takes longer than storing it. Two runs of the
same job from the same step differ in ids, tags and configuration only: so the first one is made by Dagster, and each
later one is a copy of it.

Semi-public names of Dagster are used here and in the gateway; tests/runs pins each of them to the installed release.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dagster import DagsterInstance, DagsterRun, JobDefinition
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.errors import DagsterRunAlreadyExists, DagsterSnapshotDoesNotExist
from dagster._core.execution.api import create_execution_plan
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

LOCATION = "tenant_pipelines"
"""The code location's name in every workspace file."""
REPOSITORY = "__repository__"
DEFINITIONS = "tenant_pipelines.definitions"


@dataclass(frozen=True, slots=True)
class Order:
    """A run to be made.

    Args:
        first_node: None for the whole job; else this node and all after it.
        root: the run that it is grouped under, or None for a first one.
    """

    run_id: str
    job: str
    config: Mapping[str, object]
    tags: Mapping[str, str]
    first_node: str | None = None
    root: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes runs.

    Args: job: answers the job with that name, bound to its resources.
    """

    instance: DagsterInstance
    job: Callable[[str], JobDefinition]
    _patterns: dict[tuple[str, str | None], DagsterRun] = field(default_factory=dict)

    def make(self, order: Order) -> DagsterRun:
        """The run, not handed over yet; the one that is there when somebody else has made it."""
        kind = (order.job, order.first_node)
        pattern = self._patterns.get(kind)
        try:
            if pattern is None:
                run = self._from_the_job(order)
                self._patterns[kind] = _pattern_of(run, order)
                return run
            return self.instance.add_run(_copy_of(pattern, order))
        except (DagsterRunAlreadyExists, DagsterSnapshotDoesNotExist):
            run_there = self.instance.get_run_by_id(order.run_id)
            if run_there is not None:
                return run_there
            if self._patterns.pop(kind, None) is None:
                raise
        return self.make(order)  # the pattern's snapshots have been removed from the database

    def _from_the_job(self, order: Order) -> DagsterRun:
        job = self.job(order.job)
        plan = None
        if order.first_node is not None:
            steps = _from(job, order.first_node)
            plan = create_execution_plan(job, order.config, steps, instance_ref=self.instance.get_ref())
        return self.instance.create_run_for_job(
            job,
            execution_plan=plan,
            run_id=order.run_id,
            run_config=order.config,
            tags=order.tags,
            root_run_id=order.root,
            parent_run_id=order.root,
            remote_job_origin=_remote_origin(order.job),
            job_code_origin=_code_origin(order.job),
        )


def _pattern_of(run: DagsterRun, order: Order) -> DagsterRun:
    """Without the tags that were ordered; Dagster has added its own."""
    return run._replace(tags={name: value for name, value in run.tags.items() if name not in order.tags})


def _copy_of(pattern: DagsterRun, order: Order) -> DagsterRun:
    return pattern._replace(
        run_id=order.run_id,
        run_config=order.config,
        tags={**pattern.tags, **order.tags},
        root_run_id=order.root,
        parent_run_id=order.root,
    )


def _from(job: JobDefinition, first_node: str) -> list[str]:
    names = [node.name for node in job.nodes_in_topological_order]
    return names[names.index(first_node) :]


def _remote_origin(job: str) -> RemoteJobOrigin:
    location = RegisteredCodeLocationOrigin(location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, REPOSITORY), job)


def _code_origin(job: str) -> JobPythonOrigin:
    pointer = ModuleCodePointer(DEFINITIONS, "defs", working_directory=None)
    return JobPythonOrigin(job, RepositoryPythonOrigin("python", pointer, container_image=None, entry_point=None))
