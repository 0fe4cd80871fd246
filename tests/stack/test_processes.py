"""Processes that were left behind are found by their marker, and nobody else's are touched."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from sandbox.stack import processes, stop
from sandbox.stack.folder import Folder

Sleeper = Callable[..., subprocess.Popen[bytes]]


def test_all_of_the_stack_are_found_and_nobody_else(folder: Folder, sleeper: Sleeper, tmp_path: Path) -> None:
    neighbour = Folder(tmp_path / "neighbour")
    neighbour.local.mkdir(parents=True)
    mine, other = sleeper(), sleeper(of=neighbour)

    found = {process.pid for process in processes.of_stack(folder)}

    assert mine.pid in found
    assert other.pid not in found
    assert len(found) == 2  # the shell and its child


def test_they_are_ended_with_their_children(folder: Folder, sleeper: Sleeper, tmp_path: Path) -> None:
    neighbour = Folder(tmp_path / "neighbour")
    neighbour.local.mkdir(parents=True)
    mine, other = sleeper(), sleeper(of=neighbour)

    ended = processes.end(folder)

    assert mine.pid in {process.pid for process in ended}
    assert processes.of_stack(folder) == []
    assert mine.wait(timeout=5) != 0
    assert other.poll() is None


def test_one_that_will_not_go_is_killed(folder: Folder, sleeper: Sleeper) -> None:
    stubborn = sleeper("trap '' TERM INT; sleep 60")

    processes.end(folder, patience=0.2)

    assert stubborn.wait(timeout=5) == -9
    assert processes.of_stack(folder) == []


def test_down_ends_what_a_killed_up_has_left(folder: Folder, sleeper: Sleeper) -> None:
    sleeper()

    assert stop.down(folder)
    assert processes.of_stack(folder) == []


def test_down_without_a_stack_does_nothing(folder: Folder, tmp_path: Path) -> None:
    assert not stop.down(folder)
    assert not stop.down(Folder(tmp_path / "nowhere"))
