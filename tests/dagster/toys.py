"""The smallest job that is launched like ours, and the origins that its runs need."""

from collections.abc import Mapping

import dagster as dg
from dagster import DagsterInstance
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

FAILS = {"third"}
"""The steps that raise."""


def _step(name: str) -> dg.OpDefinition:
    @dg.op(name=f"toy_{name}", ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def take() -> None:
        if name in FAILS:
            raise dg.Failure("as told", allow_retries=False)

    return take


@dg.op(name="toy_first", out=dg.Out(dg.Nothing))
def first() -> None:
    """Begins."""


@dg.job(executor_def=dg.in_process_executor)
def toy() -> None:
    """Four steps in a row, of which the third fails."""
    done = first.alias("first")()
    for name in ("second", "third", "fourth"):
        done = _step(name).alias(name)(done)


TOY: dg.JobDefinition = toy
STEPS = ["first", "second", "third", "fourth"]


def remote_origin(job: str) -> RemoteJobOrigin:
    """Where a daemon finds the job: by the code location's name alone."""
    return RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("toys"), "__repository__"), job)


def code_origin(job: str) -> JobPythonOrigin:
    """What a worker imports."""
    pointer = ModuleCodePointer("tests.dagster.toys", "defs", working_directory=None)
    return JobPythonOrigin(job, RepositoryPythonOrigin("python", pointer, container_image=None, entry_point=None))


def carried_out(instance: DagsterInstance, tags: Mapping[str, str] | None = None) -> dg.DagsterRun:
    """A run of the toy, at its end."""
    return carry_out(instance, instance.create_run_for_job(TOY, tags=tags))


def carry_out(instance: DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
    """The run, at its end."""
    list(execute_run_iterator(InMemoryJob(TOY), run, instance))
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended
