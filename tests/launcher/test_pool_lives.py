"""Pools that begin, end, follow one another or lose their database; in processes of their own, with light runs."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.launcher.ownership import Ownership, holder
from tenant_pipelines.launcher.processes import Process
from tenant_pipelines.ledger.launches import FORMAT, LaunchState
from tests.launcher.light_fixtures import control_plane, light, stage
from tests.launcher.pools import ROOT, LightStage, PoolProcess, stopped, until

pytestmark = pytest.mark.slow

__all__ = ["control_plane", "light", "stage"]

ENDED, LOST, TAKEN = LaunchState.ENDED, LaunchState.LOST, LaunchState.TAKEN


def test_rows_of_a_newer_release_are_left_alone_and_told(light: LightStage, control_plane: str) -> None:
    newer = uuid4()
    with psycopg.connect(control_plane) as connection:
        connection.execute(
            "insert into engine.launches (run_id, format, job) values (%s, %s, 'brief')", (newer, FORMAT + 1)
        )

    pool = light.pool()

    pool.await_line("only a newer release can carry out 1 of the runs that wait (format 2 and higher)")
    light.await_state(light.add("brief"), ENDED)
    assert light.row(newer).state is LaunchState.QUEUED


def test_workers_that_die_before_they_are_ready_are_started_again_after_growing_pauses(light: LightStage) -> None:
    (light.folder / "cannot begin").touch()
    pool = light.pool(begins=False)
    pool.await_line("the next try is in 0.5 s")
    pool.await_line("the next try is in 1.0 s")

    (light.folder / "cannot begin").unlink()

    pool.await_line("ready: 1 worker in")
    light.await_state(light.add("brief"), ENDED)


def record(light: LightStage, run: UUID) -> None:
    """As if the run had claimed an execution."""
    key = f"t{run.hex[:20]}"
    with psycopg.connect(light.url) as connection:
        tenant = connection.execute(
            "insert into tenant_management.tenants (key, name, tier) values (%s, %s, 'pooled') returning id", (key, key)
        ).fetchone()
        assert tenant is not None
        connection.execute(
            "insert into engine.executions (id, workflow_id, workflow_type, tenant_id, tenant_key, tier, generation,"
            " catalogue_version, state, run_id, requested_by)"
            " values (%s, 'w', 't', %s, %s, 'pooled', 1, 1, 'forward', %s, 'tests')",
            (run, tenant[0], key, run),
        )
        connection.execute(
            "insert into engine.runs (run_id, execution_id, kind, number) values (%s, %s, 'forward', 1)", (run, run)
        )


def is_handed_over(light: LightStage, run: UUID) -> bool:
    with psycopg.connect(light.url) as connection:
        return connection.execute("select hand_over from engine.runs where run_id = %s", (run,)).fetchone() == (True,)


# Supervisors


def test_a_second_pool_is_refused_and_told_who_is_there(light: LightStage) -> None:
    first = light.pool()

    second = light.pool(begins=False)

    assert second.wait() == 1
    assert second.said(f":{first.pid} (its connection in PostgreSQL is process")
    light.await_state(light.add("brief"), ENDED)


def test_a_pool_shows_in_the_database_who_it_is_and_that_it_is_ready(light: LightStage) -> None:
    assert holder(light.url) is None
    pool = light.pool()

    there = until(lambda: (found := holder(light.url)) and found.ready and found)

    assert there
    assert there.name.endswith(f":{pool.pid}")


def test_a_database_that_is_away_at_the_start_is_an_exit_code(light: LightStage) -> None:
    away = {"LIGHT_URL": "postgresql://control_plane:hunter2@127.0.0.1:1/arc_saas"}
    with closing(PoolProcess(light.command(), light.environment | away)) as pool:
        code = pool.wait()

    assert code == 3
    assert pool.said("Connection refused (ECONNREFUSED) 127.0.0.1:1")
    assert not pool.said("hunter2")


def test_a_worker_whose_supervisor_was_killed_ends_its_run_and_takes_no_other(light: LightStage) -> None:
    pool = light.pool()
    run = light.add("gated")
    record(light, run)
    worker = Process(light.begun(run))
    pool.kill()
    waiting = light.add("brief")
    until(lambda: is_handed_over(light, run))
    light.open(run)

    assert light.await_state(run, ENDED).outcome == "success"
    assert worker.ended(within=10)
    assert light.row(waiting).state is LaunchState.QUEUED

    light.pool()
    light.await_state(waiting, ENDED)


def test_what_a_killed_supervisor_has_left_is_killed_and_lost_by_the_next_one(light: LightStage) -> None:
    first = light.pool(size=2)
    stuck, dead = light.add("gated"), light.add("gated")
    worker = Process(light.begun(stuck))
    other = light.begun(dead)
    first.kill()
    os.kill(other, signal.SIGKILL)

    second = light.pool(former=1.0)

    light.await_state(dead, LOST, within=1.0)
    second.await_line(f"worker {other} of an earlier pool has died")
    light.await_state(stuck, LOST)
    second.await_line(f"worker {worker.pid} of an earlier pool was killed")
    assert worker.ended(within=5)
    light.await_state(light.add("brief"), ENDED)


def test_a_pool_whose_connections_are_ended_goes_on(light: LightStage, control_plane: str) -> None:
    pool = light.pool(size=2)
    run = light.add("gated")
    light.begun(run)
    with psycopg.connect(control_plane) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and application_name like 'tenant-pipelines%%'"
        )

    pool.await_line("the ledger's database is back")

    light.open(run)
    assert light.await_state(run, ENDED).outcome == "success"
    light.await_state(light.add("brief"), ENDED)
    until(lambda: (found := holder(light.url)) is not None and found.ready)
    assert pool.said("died") == pool.said("killed") == []


def test_a_pool_that_has_lost_its_lock_to_another_one_ends_with_its_workers(
    light: LightStage, control_plane: str
) -> None:
    pool = light.pool()
    run = light.add("gated")
    worker = Process(light.begun(run))
    found = holder(light.url)
    assert found is not None
    with stopped(pool.pid):
        with psycopg.connect(control_plane) as connection:
            connection.execute("select pg_terminate_backend(%s)", (found.backend,))
        until(lambda: holder(light.url) is None)
        other = Ownership(light.url)

    assert pool.wait() == 1
    other.close()
    assert pool.said("while the database was away: Another pool of workers works for this ledger already")
    assert worker.ended(within=5)
    assert light.row(run).state is TAKEN  # the other pool's business


# Ending


def test_a_pool_that_is_to_end_waits_for_its_runs_and_begins_no_other(light: LightStage) -> None:
    pool = light.pool(size=2, waker=True)
    run = light.add("gated")
    light.begun(run)
    pool.signal(signal.SIGTERM)
    pool.await_line("ending: no new runs")
    until(lambda: len(pool.warm()) == 2, what=lambda: "the idle worker has ended, the busy one and the waker have not")
    waiting = light.add("brief")

    light.open(run)

    assert pool.wait() == 0
    assert light.row(run).outcome == "success"
    assert light.row(waiting).state is LaunchState.QUEUED
    assert (light.folder / "log").read_text().splitlines()[-1] == "waker ended"


def test_the_runs_of_a_pool_that_is_to_end_are_to_be_handed_over(light: LightStage) -> None:
    run = light.add("gated")
    record(light, run)
    pool = light.pool()
    light.begun(run)

    pool.signal(signal.SIGINT)

    until(lambda: is_handed_over(light, run))
    light.open(run)
    assert pool.wait() == 0


def test_what_does_not_end_in_time_is_killed_and_lost(light: LightStage) -> None:
    pool = light.pool(drain=0.5, waker=True)
    run = light.add("gated")
    worker = Process(light.begun(run))

    pool.signal(signal.SIGTERM)

    assert pool.wait() == 0
    assert light.row(run).state is LOST
    assert pool.said("the time to hand over is up")
    assert worker.ended()


def test_asked_twice_a_pool_ends_at_once(light: LightStage) -> None:
    pool = light.pool(drain=60)
    run = light.add("gated")
    light.begun(run)
    pool.signal(signal.SIGTERM)
    pool.await_line("ending")

    pool.signal(signal.SIGTERM)

    assert pool.wait(5) == 0
    assert light.row(run).state is LOST


# Replacing


@pytest.mark.parametrize(
    ("job", "options", "why"),
    [
        ("brief", {"max_runs": 3}, "it has carried out"),
        ("grows", {"max_memory": 100 * 1024**2}, "it has grown to"),
    ],
    ids=["runs", "memory"],
)
def test_a_worker_that_has_done_enough_is_replaced_and_nothing_is_lost(
    light: LightStage, job: str, options: dict[str, float], why: str
) -> None:
    pool = light.pool(begins=True, **options)
    runs = [light.add(job)]
    first = light.begun(runs[0])
    for _ in range(4):
        light.await_state(runs[-1], ENDED)
        runs.append(light.add(job))

    pool.await_line(f"worker {first} is replaced: {why}")
    until(lambda: first not in pool.warm() and len(pool.warm()) >= 1)
    for run in runs:
        assert light.await_state(run, ENDED).outcome == "success"
    assert pool.said("died") == []


def test_a_pool_that_is_told_to_loads_everything_anew_and_loses_nothing(light: LightStage) -> None:
    pool = light.pool(size=2, waker=True)
    before = pool.handles()
    run = light.add("gated")
    light.begun(run)

    pool.signal(signal.SIGHUP)

    pool.await_line("loading everything anew")
    until(lambda: len(pool.warm() - {process.pid for process in before}) == 3, what=lambda: "three new processes")
    assert light.row(run).state is TAKEN
    light.open(run)
    assert light.await_state(run, ENDED).outcome == "success"
    assert all(process.ended(within=10) for process in before)
    light.await_state(light.add("brief"), ENDED)
    assert pool.said("died") == pool.said("killed") == []


def test_a_pool_whose_workers_are_copies_of_a_process_that_was_killed_makes_another_one(light: LightStage) -> None:
    pool = light.pool()
    run = light.add("gated")
    worker = Process(light.begun(run))
    os.kill(worker.parent, signal.SIGKILL)
    light.open(run)
    assert light.await_state(run, ENDED).outcome == "success"

    os.kill(worker.pid, signal.SIGKILL)

    light.await_state(light.add("brief"), ENDED)
    assert pool.said(f"worker {worker.pid} has died")
    worker.close()


@pytest.mark.slow
def test_a_supervisor_that_replaces_a_worker_for_every_run_keeps_no_trace_of_them(light: LightStage) -> None:
    pool = light.pool(size=2, max_runs=1)

    def held() -> tuple[int, int]:
        pages = int(Path(f"/proc/{pool.pid}/statm").read_text().split()[1])
        return len(os.listdir(f"/proc/{pool.pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE") // 1024**2

    def carry_out(count: int) -> None:
        for run in [light.add("short") for _ in range(count)]:
            light.await_state(run, ENDED, within=60)

    carry_out(20)
    files, memory = held()
    carry_out(400)

    until(lambda: held()[0] <= files + 8, what=lambda: f"{held()} files and MiB, before {files}, {memory}")
    assert held()[1] <= memory + 4
    assert len(pool.said("it has carried out")) > 12  # each of which would leave at least one file


# What it is made of


def test_a_supervisor_knows_no_dagster() -> None:
    code = "import sys, tenant_pipelines.launcher.pool; sys.exit('dagster' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
