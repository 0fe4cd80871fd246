"""A pool in processes of its own, on a real queue, with workers that carry out light runs: who dies, what follows."""

import os
import signal
import time
from contextlib import closing
from uuid import UUID

import pytest

from tenant_pipelines.launcher.processes import Process
from tenant_pipelines.ledger.launches import LaunchState, Wished
from tenant_pipelines.ledger.listening import Heard, Listener
from tests.launcher.light_fixtures import control_plane, light, pool, stage
from tests.launcher.pools import LightStage, PoolProcess, stopped, until

__all__ = ["control_plane", "light", "pool", "stage"]

pytestmark = pytest.mark.usefixtures("pool")

ENDED, LOST, TAKEN = LaunchState.ENDED, LaunchState.LOST, LaunchState.TAKEN


def occupy(light: LightStage) -> list[UUID]:
    """Give each of the three workers a run that goes on until it is told to end."""
    runs = [light.add("gated") for _ in range(3)]
    for run in runs:
        light.begun(run)
    return runs


def release(light: LightStage, runs: list[UUID]) -> None:
    for run in runs:
        light.open(run)
    for run in runs:
        assert light.await_state(run, ENDED).outcome == "success"


# Carrying out


def test_every_run_is_carried_out_once_whoever_takes_it(light: LightStage) -> None:
    runs = [light.add("brief") for _ in range(100)]

    for run in runs:
        assert light.await_state(run, ENDED).outcome == "success"

    begun = [line for line in light.log("begun") if UUID(line.split()[1]) in runs]
    assert sorted(line.split()[1] for line in begun) == sorted(map(str, runs))
    assert len({line.split()[3] for line in begun}) == 3


def test_an_idle_worker_takes_a_run_as_soon_as_it_is_queued(light: LightStage) -> None:
    waits = []
    for _ in range(10):
        run = light.add("brief")
        light.await_state(run, ENDED)
        row = light.row(run)
        assert row.taken_at is not None
        waits.append((row.taken_at - row.queued_at).total_seconds())

    assert sorted(waits)[5] < 0.2  # it looks by itself every five seconds only


def test_a_worker_that_is_carrying_out_a_run_takes_no_second_one(light: LightStage) -> None:
    runs = occupy(light)
    waiting = light.add("brief")
    light.launches.add(waiting, "brief")  # told once more
    assert light.row(waiting).state is LaunchState.QUEUED

    release(light, runs)

    light.await_state(waiting, ENDED)


# Who dies


def test_a_worker_that_is_killed_is_lost_at_once_and_replaced(
    light: LightStage, pool: PoolProcess, control_plane: str
) -> None:
    kept, lost = light.add("gated"), light.add("gated")
    light.begun(kept)
    with closing(Listener(light.url, ["engine_wake"])) as listener:
        os.kill(light.begun(lost), signal.SIGKILL)
        killed = time.monotonic()

        light.await_state(lost, LOST)

        assert time.monotonic() - killed < 2.0
        assert Heard("engine_wake", "lost") in listener.heard(5)
    pool.await_line(f"run {lost} is lost")
    assert light.row(kept).state is TAKEN
    light.await_state(light.add("brief"), ENDED)
    light.open(kept)
    light.await_state(kept, ENDED)


def test_a_worker_that_dies_of_what_it_does_is_lost_too(light: LightStage) -> None:
    light.await_state(light.add("breaks"), LOST)

    light.await_state(light.add("brief"), ENDED)


def test_a_stopped_worker_is_lost_and_writes_nothing_when_it_is_to_go_on(light: LightStage, pool: PoolProcess) -> None:
    run = light.add("gated")
    worker = light.begun(run)
    process = Process(worker)
    with stopped(worker):
        light.await_state(run, LOST)
        light.open(run)

    pool.await_line("it has been stopped for")
    assert process.ended(within=5)
    process.close()
    light.await_state(light.add("brief"), ENDED)
    assert light.log("ended", run) == []
    assert light.row(run).state is LOST


def test_a_worker_that_gives_no_sign_of_life_is_lost(light: LightStage, pool: PoolProcess) -> None:
    run = light.add("mute")
    worker = light.begun(run)

    light.await_state(run, LOST)

    pool.await_line(f"worker {worker} is killed: it has given no sign of life for")


def test_a_pool_that_was_stopped_takes_nobody_for_lost(light: LightStage, pool: PoolProcess) -> None:
    run = light.add("gated")
    light.begun(run)
    killed = pool.said("killed")
    with stopped(pool.pid):
        time.sleep(2.5)  # longer than the silence that it would not bear: the time itself is what is tried

    light.open(run)

    assert light.await_state(run, ENDED).outcome == "success"
    assert pool.said("killed") == killed


# Interrupts


def test_a_run_that_is_to_end_is_interrupted_and_no_other_one(light: LightStage, pool: PoolProcess) -> None:
    wanted, other = light.add("gated"), light.add("gated")
    worker = light.begun(wanted)
    light.begun(other)

    assert light.launches.wish_interrupt(wanted) is Wished.ASKED

    assert light.await_state(wanted, ENDED).outcome == "interrupted"
    until(lambda: len(pool.warm()) == 3 and worker not in pool.warm(), what=lambda: "a new worker")
    assert light.row(other).state is TAKEN
    light.open(other)
    assert light.await_state(other, ENDED).outcome == "success"
    assert not pool.said(f"worker {worker} has died")


def test_a_queued_run_that_is_to_end_is_never_begun(light: LightStage) -> None:
    runs = occupy(light)
    waiting = light.add("brief")

    assert light.launches.wish_interrupt(waiting) is Wished.REMOVED

    release(light, runs)
    light.await_state(light.add("brief"), ENDED)
    assert light.log("begun", waiting) == []


def test_a_worker_that_does_not_obey_is_killed_and_its_run_is_lost(light: LightStage, pool: PoolProcess) -> None:
    run = light.add("deaf")
    worker = light.begun(run)

    light.launches.wish_interrupt(run)

    light.await_state(run, LOST)
    pool.await_line(f"worker {worker} is killed: it did not end run {run} within 1 s")
    light.await_state(light.add("brief"), ENDED)
