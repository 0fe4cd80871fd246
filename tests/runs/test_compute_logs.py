"""What a run prints is kept and repeated, and no process is started for it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from tenant_pipelines.runs import compute_logs
from tenant_pipelines.runs.compute_logs import LocalComputeLogs, S3ComputeLogs

SOON = 10.0
KEY = ["a-run", "compute_logs", "a-file"]


@pytest.fixture
def logs(tmp_path: Path) -> LocalComputeLogs:
    return LocalComputeLogs(str(tmp_path))


@contextmanager
def capturing(logs: LocalComputeLogManager, key: Sequence[str] = KEY) -> Iterator[None]:
    """As in a process of its own: the streams of pytest are not the files 1 and 2."""
    with (
        open(1, "w", closefd=False) as out,
        open(2, "w", closefd=False) as err,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        with logs.capture_logs(key):
            yield


def kept(logs: LocalComputeLogManager) -> tuple[str, str]:
    data = logs.get_log_data(KEY)
    return (data.stdout or b"").decode(), (data.stderr or b"").decode()


def test_what_is_printed_is_kept_and_repeated(logs: LocalComputeLogs, capfd: pytest.CaptureFixture[str]) -> None:
    with capturing(logs):
        sys.stdout.write("to stdout\n")
        sys.stdout.flush()
        subprocess.run(["echo", "from a child"], check=True)
        os.write(2, b"from a library in C\n")
        sys.stderr.write("to stderr, at the end\n")

    assert kept(logs) == ("to stdout\nfrom a child\n", "from a library in C\nto stderr, at the end\n")
    assert tuple(capfd.readouterr()) == kept(logs)


def test_what_comes_afterwards_is_not_kept(logs: LocalComputeLogs, capfd: pytest.CaptureFixture[str]) -> None:
    with capturing(logs):
        pass
    os.write(2, b"afterwards\n")

    assert kept(logs) == ("", "")
    assert capfd.readouterr().err == "afterwards\n"


def test_a_long_run_shows_what_it_prints_meanwhile(
    logs: LocalComputeLogs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compute_logs, "REPEAT_EVERY", 0.01)
    seen = ""
    with capturing(logs):
        os.write(2, b"meanwhile\n")
        deadline = time.monotonic() + SOON
        while not seen and time.monotonic() < deadline:
            seen = capfd.readouterr().err

    assert seen == "meanwhile\n"


def test_it_is_captured_when_the_capture_is_over(logs: LocalComputeLogs) -> None:
    with capturing(logs):
        assert not logs.is_capture_complete(KEY)

    assert logs.is_capture_complete(KEY)


def test_no_process_and_no_open_file_is_left_and_none_is_started(logs: LocalComputeLogs) -> None:
    files, children = _open_files(), _children()
    with capturing(logs):
        assert _children() == children

    assert _open_files() == files


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_run_that_ends_by_an_exception_gives_the_streams_back(
    logs: LocalComputeLogs, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LookupError), capturing(logs):
        raise LookupError

    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


def test_one_run_after_the_other_has_its_own(logs: LocalComputeLogs) -> None:
    for name in ("first", "second"):
        with capturing(logs, [name, "compute_logs", "file"]):
            os.write(1, name.encode())

    assert logs.get_log_data(["first", "compute_logs", "file"]).stdout == b"first"
    assert logs.get_log_data(["second", "compute_logs", "file"]).stdout == b"second"


def test_that_for_s3_takes_dagsters_configuration_and_captures_our_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "fake")
    given = {"bucket": "logs", "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1", "local_dir": str(tmp_path)}

    made = S3ComputeLogs.from_config_value(None, {**given, "prefix": "compute-logs", "skip_empty_files": True})  # type: ignore[arg-type]

    assert "config_type" not in vars(S3ComputeLogs)
    assert isinstance(made.local_manager, LocalComputeLogs)
    path = made.local_manager.get_captured_local_path(KEY, "err")
    assert path == LocalComputeLogManager(str(tmp_path)).get_captured_local_path(KEY, "err")
    with capturing(made.local_manager):
        os.write(2, b"for the bucket")
    assert made.local_manager.get_log_data_for_type(KEY, ComputeIOType.STDERR, 0, None)[0] == b"for the bucket"
