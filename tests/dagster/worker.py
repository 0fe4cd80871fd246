"""A process of its own that carries out one run, to be sent signals: `python -m tests.dagster.worker HOME RUN_ID`.

HOME is the folder of a persistent instance; the op says that it runs with a file `op` there, the failure hook with a
file `hook`.
"""

import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._utils.interrupts import setup_interrupt_handlers


def job_in(home: Path) -> dg.JobDefinition:
    """One op that takes half a minute, with a failure hook."""

    @dg.failure_hook
    def mark(_: dg.HookContext) -> None:
        (home / "hook").touch()

    @dg.op
    def slow() -> None:
        (home / "op").touch()
        time.sleep(30)

    @dg.job(hooks={mark}, executor_def=dg.in_process_executor)
    def slow_job() -> None:
        slow()

    return slow_job


def instance_in(home: Path) -> dg.DagsterInstance:
    """The persistent instance in that folder."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"telemetry": {"enabled": False}}))


def main(home: Path, run_id: str) -> None:
    """Carry the run out, with the signal handlers of Dagster's own workers."""
    setup_interrupt_handlers()
    with instance_in(home) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None:
            raise SystemExit(f"there is no run {run_id}")
        list(execute_run_iterator(InMemoryJob(job_in(home)), run, instance))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
