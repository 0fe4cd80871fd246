"""Workers that kill themselves at a named point: `python -m tests.runs.killed` forks one for each line that it reads.

What is replaced in here is not put back: each worker is a process of its own, and has one run to carry out.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from dagster import DagsterInstance, Definitions, JobDefinition
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from benchmarks.idle_world import idle_world
from resources.saga import Saga
from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.provisioning.jobs import SAGA, provision_job, rollback_job
from tenant_pipelines.runs import storage
from tenant_pipelines.runs.event_group import EventGroup, Row
from tenant_pipelines.runs.event_table import EventTable
from tenant_pipelines.runs.gateway import DagsterRuns
from tenant_pipelines.saga.step import Step

BEFORE, INSIDE, AFTER = "before", "inside", "after"


@dataclass(frozen=True, slots=True)
class Task:
    """A run to be carried out until that group of its events.

    Args:
        moment: before it is written, while the server is writing it, or when it has been written.
        number: of the group; 1 is the start of the run.
        apart: as of `EventGroup`. 0: each end of a step is a group, and no other event is written by itself.
        effects: a file that gets the name of each step that is done. told: one that gets each event.
        dagster: the database that the events go to.
    """

    run_id: str
    home: str
    moment: str
    number: int
    apart: float
    effects: str
    told: str
    dagster: str

    def line(self) -> str:
        """For the process that forks."""
        return json.dumps(asdict(self)) + "\n"


class World:
    """Our jobs on that instance, over outside systems that do nothing."""

    def __init__(self, instance: DagsterInstance) -> None:
        given = settings.load()
        self.database = Database(given.database_url.get_secret_value(), patience=5)
        self.desk: Desk = open_desk(given, self.database, DagsterRuns(instance, self.job, check=lambda _: None))
        saga = Saga(given, self.database, idle_world(), self.desk)
        self._definitions = Definitions(jobs=[provision_job(), rollback_job()], resources={SAGA: saga})

    def job(self, name: str) -> JobDefinition:
        """Bound to the world."""
        return self._definitions.resolve_job_def(name)


def noting(effects: Path) -> Callable[..., Any]:
    """What is to stand in the place of `Step.run_do`: it notes first that the step is done."""
    run_do = Step.run_do

    def run(step: Step, *given: Any, **named: Any) -> Any:
        _append(effects, step.name)
        return run_do(step, *given, **named)

    return run


def _append(file: Path, line: str) -> None:
    with file.open("a") as output:
        output.write(line + "\n")


def carry_out_and_die(task: Task) -> None:
    """Does not come back."""
    Step.run_do = noting(Path(task.effects))  # type: ignore[method-assign]
    EventGroup.add = _telling(Path(task.told))  # type: ignore[method-assign, assignment]
    if task.apart == 0:
        EventGroup.__init__ = _without_thread()  # type: ignore[method-assign]
    EventTable.write = _dying(task)  # type: ignore[method-assign, assignment]
    with DagsterInstance.from_config(task.home) as instance:
        world = World(instance)
        run = instance.get_run_by_id(task.run_id)
        assert run is not None
        with storage.grouped(instance, task.run_id):
            list(execute_run_iterator(InMemoryJob(world.job(run.job_name)), run, instance))


def _telling(told: Path) -> Callable[[EventGroup, Row], None]:
    add = EventGroup.add

    def tell(group: EventGroup, row: Row) -> None:
        _append(told, json.dumps([row["step_key"], row["dagster_event_type"]]))
        add(group, row)

    return tell


def _without_thread() -> Callable[..., None]:
    """Groups then are what the rules of steps and statuses make, however quick the steps are."""
    init = EventGroup.__init__
    return lambda group, table: init(group, table, latest=600.0, apart=0)


def _dying(task: Task) -> Callable[[EventTable, Sequence[Row]], int]:
    write = EventTable.write
    groups = 0

    def dying(events: EventTable, rows: Sequence[Row]) -> int:
        nonlocal groups
        groups += 1
        if groups != task.number:
            return write(events, rows)
        if task.moment == BEFORE:
            _die()
        if task.moment == INSIDE:
            _die_while_it_waits(task.dagster)
        write(events, rows)
        _die()
        raise AssertionError

    return dying


def _die_while_it_waits(dagster: str) -> None:
    """The table is locked until we are dead; a thread looks until the server has the statement and waits with it."""
    lock = psycopg.connect(dagster)
    lock.execute("lock table event_logs in exclusive mode")

    def look() -> None:
        waiting = (
            "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into event_logs%'"
        )
        with psycopg.connect(dagster, autocommit=True) as watching:
            while watching.execute(waiting).rowcount == 0:
                pass
        _die()
        lock.close()

    threading.Thread(target=look, daemon=True).start()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Forks a worker for each task, and answers with the signal that has ended it."""
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            try:
                carry_out_and_die(Task(**json.loads(line)))
            finally:
                sys.stderr.flush()
                os._exit(1)
        _, status = os.waitpid(worker, 0)
        sys.stdout.write(f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
