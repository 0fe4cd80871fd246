"""The real pool, as `tenant-pipelines workers` starts it: real Dagster runs in warm workers, and the waker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from uuid import UUID

import pytest
from dagster import DagsterRun, DagsterRunStatus

from tenant_pipelines.launcher.ownership import holder
from tenant_pipelines.launcher.processes import Process
from tests.launcher.dagster_stage import RealStage, control_plane, real
from tests.launcher.pools import ROOT, PoolProcess, until

__all__ = ["control_plane", "real"]


@pytest.fixture(scope="module")
def pool(real: RealStage) -> Iterator[PoolProcess]:
    """One pool for the tests of this file that ask for it."""
    with closing(real.pool("--size", "2")) as made:
        made.await_line("ready: 2 workers", within=60)
        yield made


def test_runs_are_carried_out_and_end_in_dagster_too(real: RealStage, pool: PoolProcess) -> None:
    runs = [real.launch(job) for job in ("quick", "failing", "broken", "quick")]

    assert [real.ended(run) for run in runs] == [
        DagsterRunStatus.SUCCESS,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.SUCCESS,
    ]
    assert pool.said("died") == []


def test_a_run_that_is_terminated_is_cancelled_and_no_other_one(real: RealStage, pool: PoolProcess) -> None:
    wanted, other = real.launch("gated"), real.launch("gated")
    worker = Process(real.begun(wanted))
    real.begun(other)

    real.instance.run_launcher.terminate(wanted.run_id)

    assert real.ended(wanted) is DagsterRunStatus.CANCELED
    assert worker.ended(within=10)
    worker.close()
    assert real.status(other) is DagsterRunStatus.STARTED
    real.open(other)
    assert real.ended(other) is DagsterRunStatus.SUCCESS
    until(lambda: len(pool.warm()) == 3)


def test_a_lost_run_is_seen_to_by_the_waker(real: RealStage, pool: PoolProcess) -> None:
    run = real.launch("gated")

    os.kill(real.begun(run), signal.SIGKILL)

    assert real.ended(run) is DagsterRunStatus.FAILURE
    assert real.ended(real.launch("quick")) is DagsterRunStatus.SUCCESS
    assert pool.said(f"run {run.run_id} is lost")


def told(real: RealStage, run: DagsterRun, text: str) -> bool:
    return text in real.said(run)


def test_definitions_that_cannot_be_imported_are_said_in_the_runs_that_wait_and_nothing_is_used_up(
    real: RealStage, pool: PoolProcess
) -> None:
    pool.signal(signal.SIGTERM)
    assert pool.wait() == 0
    (real.folder / "broken").touch()
    early = real.launch("quick")
    with closing(real.pool("--size", "2", definitions="tests.launcher.toys_broken")) as broken:
        said = "code location tests.launcher.toys_broken cannot be imported: RuntimeError: as the file says"
        broken.await_line(said, within=60)
        late = real.launch("quick")
        for run in (early, late):
            until(partial(told, real, run, said), what=partial(real.said, run))
        found = until(lambda: (there := holder(real.url)) and there.broken and there)
        assert found
        broken.await_line(said, within=60, times=2)  # tried again by itself
        assert [real.status(run) for run in (early, late)] == [DagsterRunStatus.QUEUED] * 2
        assert [real.said(run).count(said) for run in (early, late)] == [1, 1]

        (real.folder / "broken").unlink()

        assert [real.ended(run) for run in (early, late)] == [DagsterRunStatus.SUCCESS] * 2
        broken.await_line("the code location can be imported again")
        broken.await_line("ready: 2 workers")
        until(lambda: (there := holder(real.url)) is not None and there.ready)
        assert broken.said("died") == []
        rows = [real.launches.of(UUID(run.run_id)) for run in (early, late)]
        assert [row.outcome for row in rows if row] == ["success"] * 2


def test_workers_go_on_with_what_they_have_while_what_is_loaded_anew_cannot_be_imported(real: RealStage) -> None:
    with closing(real.pool("--size", "1", definitions="tests.launcher.toys_broken")) as pool:
        pool.await_line("ready: 1 worker", within=60)
        before = pool.handles()
        (real.folder / "broken").touch()

        pool.signal(signal.SIGHUP)

        pool.await_line("those that are there go on with what they have loaded", within=60)
        assert real.ended(real.launch("quick")) is DagsterRunStatus.SUCCESS
        assert not any(process.ended() for process in before)
        found = holder(real.url)
        assert found is not None
        assert found.ready
        (real.folder / "broken").unlink()
        pool.signal(signal.SIGHUP)
        assert all(process.ended(within=30) for process in before)
        assert real.ended(real.launch("quick")) is DagsterRunStatus.SUCCESS
        pool.signal(signal.SIGTERM)
        assert pool.wait() == 0


# What is refused


@pytest.mark.parametrize("size", ["0", "65", "-1", "many", ""])
def test_a_pool_of_no_or_absurdly_many_workers_is_refused(real: RealStage, size: str) -> None:
    with closing(real.pool(f"--size={size}")) as refused:
        assert refused.wait() == 2
    assert refused.said(f"{size} workers: choose from 1 to 64")


def test_settings_that_are_missing_are_named() -> None:
    with closing(PoolProcess([sys.executable, "-m", "tenant_pipelines.launcher"], os.environ)) as refused:
        assert refused.wait() == 2
    assert refused.said("TENANT_PIPELINES_STRIPE_KEY: missing")


def test_a_pair_of_launcher_and_coordinator_that_is_not_supported_ends_the_pool(real: RealStage) -> None:
    file = real.folder / "dagster.yaml"
    before = file.read_text()
    file.write_text(before.replace("DefaultRunCoordinator", "QueuedRunCoordinator"))
    try:
        with closing(real.pool("--size", "1")) as refused:
            assert refused.wait(60) == 2
    finally:
        file.write_text(before)
    assert refused.said("WarmRunLauncher with the run coordinator QueuedRunCoordinator, which do not work")


def test_the_command_line_starts_the_same(real: RealStage) -> None:
    command = [str(ROOT / ".venv/bin/tenant-pipelines"), "workers", "--size", "65"]

    refused = subprocess.run(command, cwd=ROOT, env=real.environment, capture_output=True, text=True, check=False)

    assert refused.returncode == 2
    assert "65 workers: choose from 1 to 64" in refused.stderr
