"""What becomes of a run whose worker is sent a signal: real processes."""

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus

from tests.dagster.events import steps_with
from tests.dagster.worker import instance_in, job_in

ROOT = Path(__file__).parents[2]


class Worker:
    """A worker in the middle of its op."""

    def __init__(self, home: Path, instance: DagsterInstance, process: subprocess.Popen[bytes], run_id: str) -> None:
        self.home = home
        self.instance = instance
        self.process = process
        self.run_id = run_id

    def send(self, number: signal.Signals) -> None:
        """Send it, and wait for the process to be gone."""
        self.process.send_signal(number)
        self.process.wait(20)

    @property
    def status(self) -> DagsterRunStatus:
        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        return run.status

    @property
    def hook_ran(self) -> bool:
        return (self.home / "hook").exists()


@pytest.fixture
def worker() -> Iterator[Worker]:
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-dagster-", dir=shm if shm.is_dir() else None) as folder:
        home = Path(folder)
        with instance_in(home) as instance:
            run = instance.create_run_for_job(job_in(home))
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.dagster.worker", folder, run.run_id], cwd=ROOT, stderr=subprocess.DEVNULL
            )
            try:
                _until(lambda: (home / "op").exists() or process.poll() is not None)
                assert process.poll() is None
                yield Worker(home, instance, process, run.run_id)
            finally:
                process.kill()
                process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bare_signal_to_the_worker_fails_the_run_without_the_hook(worker: Worker, number: signal.Signals) -> None:
    worker.send(number)

    assert worker.status is DagsterRunStatus.FAILURE
    assert not worker.hook_ran


def test_a_killed_worker_leaves_the_run_started_and_no_step_failure_and_runs_no_hook(worker: Worker) -> None:
    worker.send(signal.SIGKILL)

    assert worker.status is DagsterRunStatus.STARTED
    assert steps_with(worker.instance, worker.run_id, DagsterEventType.STEP_FAILURE) == []
    assert not worker.hook_ran


def test_a_worker_that_is_being_terminated_ends_its_run_cancelled_without_the_hook(worker: Worker) -> None:
    run = worker.instance.get_run_by_id(worker.run_id)
    assert run is not None
    worker.instance.report_run_canceling(run)

    worker.send(signal.SIGTERM)

    assert worker.status is DagsterRunStatus.CANCELED
    assert not worker.hook_ran


def test_a_process_started_with_sigint_ignored_ignores_sigterm_too() -> None:
    """As bash starts what it puts into the background; hence a supervisor, and SIGINT reset."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from dagster._utils.interrupts import setup_interrupt_handlers; setup_interrupt_handlers()\n"
        "raise SystemExit(signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _until(reached: Callable[[], bool], *, seconds: float = 30.0) -> None:
    tick = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if reached():
            return
        tick.wait(0.05)
    pytest.fail(f"not reached within {seconds} s")
