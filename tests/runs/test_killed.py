"""A worker that is killed around the writing of a group of events: what Dagster shows, and that nothing is done twice.

Real workers, killed with SIGKILL, over a real ledger and Dagster's tables on a real PostgreSQL.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from sandbox.postgres import Server
from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs.event_group import APART
from tenant_pipelines.runs.storage import grouped
from tenant_pipelines.saga.step import Step
from tests.fakes.company import TESTER
from tests.runs.killed import AFTER, BEFORE, INSIDE, Task, World, noting
from tests.runs.pooled import QUEUED, dagster_database, instance_on, ours
from tests.settings_values import environment

pytestmark = pytest.mark.slow

__all__ = ["dagster_database"]

ROOT = Path(__file__).parents[2]
STEPS = [step.name for step in PROVISIONING.steps]
RUN_STARTS, FIRST, EIGHTH, RUN_ENDS = 1, 2, 9, len(STEPS) + 2
"""Groups of a whole run's events, where each end of a step is one."""
SOME_STEPS = 2
"""The group after the start of the run, where steps that end quickly share one."""
SOON = 20.0


@pytest.fixture(scope="module")
def queueing(
    postgres: Server, dagster_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterInstance]:
    home = tmp_path_factory.mktemp("killed")
    with instance_on(ours(postgres, dagster_database), home, QUEUED) as instance:
        yield instance


@pytest.fixture(scope="module")
def given(shared_database: str) -> dict[str, str]:
    """The settings, for us and for the workers."""
    return environment(database_url=shared_database, provisioner_database_url=shared_database)


@pytest.fixture(scope="module")
def workers(given: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that forks workers; it has imported everything."""
    command = [sys.executable, "-m", "tests.runs.killed"]
    environ = {**os.environ, **given, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(SOON)


@dataclass(frozen=True, slots=True)
class Scene:
    """A run whose worker was killed."""

    instance: DagsterInstance
    world: World
    execution: Execution
    effects: Path
    told: list[list[str | None]]
    stored: list[list[str | None]]

    def steps_done(self) -> Counter[str]:
        """How often each step was done outside."""
        return Counter(self.effects.read_text().split() if self.effects.exists() else [])

    def recorded_as_done(self) -> set[str]:
        """By the ledger."""
        query = "select step from engine.steps where execution_id = %s and state in ('done', 'waiting')"
        with psycopg.connect(os.environ["TENANT_PIPELINES_DATABASE_URL"]) as connection:
            return {row[0] for row in connection.execute(query, [self.execution.id])}


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    postgres: Server,
    dagster_database: str,
    queueing: DagsterInstance,
    given: dict[str, str],
    workers: "subprocess.Popen[str]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    moment, number, apart = request.param
    world = World(queueing)
    execution = _started(world, f"t{uuid4().hex[:12]}")
    dagster, run = postgres.dsn(dagster_database), str(execution.id)
    effects, told = tmp_path / "effects", tmp_path / "told"
    _report(queueing, run, DagsterEventType.PIPELINE_STARTING)
    task = Task(run, queueing.root_directory, moment, number, apart, str(effects), str(told), dagster)
    assert _ended_by(workers, task) == signal.SIGKILL
    _wait_until_the_server_has_noticed(dagster)
    monkeypatch.setattr(Step, "run_do", noting(effects))
    yield Scene(queueing, world, execution, effects, _told(told), _stored(dagster, run))
    world.database.close()


def _started(world: World, key: str) -> Execution:
    wanted = new_tenant(key=key, name=key, admin_email=f"admin@{key}.example", plan_id="enterprise", plans=TIER_OF_PLAN)
    return start(world.desk, tenants.create(world.desk, wanted, TESTER).id, TESTER)


def _report(instance: DagsterInstance, run_id: str, kind: DagsterEventType) -> None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_dagster_event(DagsterEvent(kind.value, run.job_name), run_id=run_id)


def _ended_by(workers: "subprocess.Popen[str]", task: Task) -> int:
    """The signal that has ended the worker."""
    assert workers.stdin is not None
    assert workers.stdout is not None
    workers.stdin.write(task.line())
    workers.stdin.flush()
    return int(workers.stdout.readline())


def _wait_until_the_server_has_noticed(dagster: str) -> None:
    """What the killed process had sent may still take effect."""
    theirs = "select from pg_stat_activity where datname = current_database() and state <> 'idle'"
    deadline = time.monotonic() + SOON
    with psycopg.connect(dagster, autocommit=True) as connection:
        while connection.execute(f"{theirs} and pid <> pg_backend_pid()").rowcount > 0:
            assert time.monotonic() < deadline


def _told(file: Path) -> list[list[str | None]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _stored(dagster: str, run_id: str) -> list[list[str | None]]:
    """Step and kind of what the worker has told of the run, without what was told before it began."""
    query = "select step_key, dagster_event_type from event_logs where run_id = %s order by id"
    with psycopg.connect(dagster) as connection:
        rows = [list(row) for row in connection.execute(query, [run_id])]
    begin = [None, "PIPELINE_STARTING"]
    return rows[rows.index(begin) + 1 :]


CASES = [
    *((BEFORE, number, 0) for number in (RUN_STARTS, EIGHTH, RUN_ENDS)),
    *((INSIDE, number, 0) for number in (FIRST, EIGHTH)),
    *((AFTER, number, 0) for number in (EIGHTH, RUN_ENDS)),
    *((moment, SOME_STEPS, APART) for moment in (BEFORE, INSIDE, AFTER)),
]
anywhere = pytest.mark.parametrize("scene", CASES, indirect=True, ids=lambda case: "-".join(str(part) for part in case))


@anywhere
def test_a_killed_worker_leaves_a_beginning_of_its_story_and_nothing_is_done_twice(scene: Scene) -> None:
    _the_story_is_a_beginning(scene)
    recorded = scene.recorded_as_done()
    done_before = scene.steps_done()
    assert recorded <= done_before.keys()

    _continue(scene)

    done = scene.steps_done()
    assert scene.recorded_as_done() == set(STEPS)
    assert {step: done[step] for step in recorded} == dict.fromkeys(recorded, 1)
    assert all(1 <= done[step] <= 2 for step in STEPS)  # twice: the one that was under way
    assert sum(done.values()) <= len(STEPS) + 1


def _the_story_is_a_beginning(scene: Scene) -> None:
    assert scene.stored == scene.told[: len(scene.stored)]
    shown = {step for step, kind in scene.stored if kind == "STEP_SUCCESS"}
    assert shown <= scene.recorded_as_done()  # it may lag behind the ledger, and is never ahead of it


def _continue(scene: Scene) -> None:
    """As the sensor does when it has seen that the run's worker is gone."""
    run = scene.instance.get_run_by_id(str(scene.execution.id))
    assert run is not None
    if not run.is_finished:
        scene.instance.report_run_failed(run, "Its worker was killed.")
    execution = scene.world.desk.ledger.execution_of_run(scene.execution.id)
    assert execution is not None
    push = reconcile(scene.world.desk, execution, by="tests")
    if scene.recorded_as_done() == set(STEPS):
        assert push is Push.NOTHING
        return
    assert push in (Push.CONTINUE, Push.LAUNCH)
    _carry_out(scene, [run for run in scene.instance.get_runs() if run.status is DagsterRunStatus.QUEUED])


def _carry_out(scene: Scene, queued: list[DagsterRun]) -> None:
    (run,) = queued
    _report(scene.instance, run.run_id, DagsterEventType.PIPELINE_STARTING)
    starting = scene.instance.get_run_by_id(run.run_id)
    assert starting is not None
    with grouped(scene.instance, run.run_id):
        list(execute_run_iterator(InMemoryJob(scene.world.job(run.job_name)), starting, scene.instance))
    ended = scene.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is DagsterRunStatus.SUCCESS


@pytest.mark.parametrize("scene", [(BEFORE, EIGHTH, 0)], indirect=True)
def test_what_the_ledger_has_as_done_may_be_missing_in_dagster_and_stays_done(scene: Scene) -> None:
    """The seventh step was done, and its end was still to be told when the worker was killed."""
    shown = [step for step, kind in scene.stored if kind == "STEP_SUCCESS"]

    assert shown == STEPS[: EIGHTH - 2]
    assert scene.recorded_as_done() == set(STEPS[: EIGHTH - 1])


@pytest.mark.parametrize("scene", [(AFTER, EIGHTH, 0)], indirect=True)
def test_what_was_written_is_there_to_the_last_event(scene: Scene) -> None:
    assert scene.stored == scene.told
