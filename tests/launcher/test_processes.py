"""Processes that cannot be taken for one another."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_pipelines.launcher.processes import Process, find, memory_available, started_at
from tests.launcher.pools import stopped, until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as started:
        yield started
        started.kill()


def test_a_process_is_found_by_pid_and_start_and_by_nothing_less(child: subprocess.Popen[bytes]) -> None:
    started = started_at(child.pid)

    found = find(child.pid, started)

    assert found is not None
    assert (found.pid, found.parent) == (child.pid, os.getpid())
    found.close()
    assert find(child.pid, started + 1) is None


def test_a_process_that_has_ended_is_not_found_even_while_its_parent_has_not_looked(
    child: subprocess.Popen[bytes],
) -> None:
    started, process = started_at(child.pid), Process(child.pid)
    assert not process.ended()

    assert process.kill()

    assert process.ended()
    assert find(child.pid, started) is None
    assert process.kill()  # once more: nothing
    process.close()


def test_there_is_no_process_where_none_is(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()

    with pytest.raises(ProcessLookupError):
        Process(child.pid)
    with pytest.raises(ProcessLookupError):
        started_at(child.pid)
    assert find(child.pid, 1.0) is None


def test_a_stopped_process_is_seen_and_killed(child: subprocess.Popen[bytes]) -> None:
    process = Process(child.pid)
    assert not process.stopped()
    with stopped(child.pid):
        until(process.stopped)

        assert process.kill()

    assert not process.stopped()
    assert child.wait(5) == -signal.SIGKILL
    process.close()


def test_a_name_with_brackets_and_spaces_does_not_confuse(child: subprocess.Popen[bytes]) -> None:
    renaming = "open('/proc/self/comm', 'w').write('a) T (b'); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", renaming]) as renamed:
        until(lambda: "a) T (b" in Path(f"/proc/{renamed.pid}/comm").read_text())
        process = Process(renamed.pid)

        assert not process.stopped()
        assert process.parent == os.getpid()

        process.kill()
        process.close()


def test_in_a_container_only_what_it_may_use_is_available(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory_available(tmp_path) == 300

    (tmp_path / "memory.max").write_text("max\n")
    assert memory_available(tmp_path) > 1000


def test_memory_that_is_available_is_some_and_no_more_than_there_is() -> None:
    assert 0 < memory_available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
