"""However a stack ends, nothing of it is left running, and its data are there the next time."""

import os
import signal
import time
from pathlib import Path

import pytest

from sandbox.stack import stop
from tests.stack.conftest import Stack, finish, wait_until_up

pytestmark = [pytest.mark.stack, pytest.mark.timeout(250)]

BROKEN = "broken_definitions"


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["supervisord.pid", "stand-ins.sock"])
def test_ctrl_c_during_the_start_leaves_nothing_even_when_pressed_twice(fresh_stack: Stack, moment: str) -> None:
    process = fresh_stack.begin()
    _wait_for(fresh_stack.folder.run / moment)

    process.send_signal(signal.SIGINT)
    code, said = finish(process, number=signal.SIGINT)

    assert (code, fresh_stack.left) == (0, []), said
    assert not fresh_stack.folder.stack_json.exists()


def test_a_stack_that_was_left_behind_is_refused_then_ended_then_started_with_its_data(fresh_stack: Stack) -> None:
    process = fresh_stack.begin()
    wait_until_up(process)
    kept = fresh_stack.folder.credentials_json.read_text()
    os.kill(int((fresh_stack.folder.run / "supervisord.pid").read_text()), signal.SIGKILL)
    process.kill()
    process.communicate()
    assert fresh_stack.left

    refused = fresh_stack.command("up")
    assert refused.returncode == 1
    assert "left behind" in refused.stderr

    assert stop.down(fresh_stack.folder)
    assert fresh_stack.left == []

    again = fresh_stack.begin()
    wait_until_up(again)
    assert fresh_stack.folder.credentials_json.read_text() == kept
    assert fresh_stack.command("down").returncode == 0
    again.communicate(timeout=30)
    assert (again.returncode, fresh_stack.left) == (0, [])


def test_a_part_that_does_not_come_up_is_named_with_its_log(
    fresh_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{BROKEN}.py").write_text("raise RuntimeError('this cannot be loaded')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    process = fresh_stack.begin("--definitions", BROKEN)
    _, said = process.communicate(timeout=200)

    assert process.returncode == 1
    assert "dagster-code" in said
    assert "this cannot be loaded" in said
    assert fresh_stack.left == []
