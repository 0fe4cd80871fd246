"""How contenders are started, asked and ended: with a real process that answers as theirs do."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from benchmarks import rounds
from benchmarks.contenders.client import Client
from benchmarks.contenders.lab import Lab
from benchmarks.contenders.processes import Place, wait_for
from benchmarks.contenders.team import Team
from benchmarks.failures import NotDone
from benchmarks.rounds import Amount
from sandbox.stack.folder import CHECKOUT

ANSWERING = """
import sys
from benchmarks.contenders.programs.answering import answer

done = []

def one():
    done.append(1)
    return 0.25

def many(count):
    done.extend([1] * count)

def fail():
    raise ValueError("no")

def leave():
    sys.exit(3)

answer(one, many, {"done": lambda: len(done), "echo": lambda said: said, "fail": fail, "leave": leave})
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {"PYTHONPATH": str(CHECKOUT), "PATH": os.environ["PATH"]})


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with place.client("somebody", [sys.executable, "-c", ANSWERING]) as found:
        yield found


def test_a_client_measures_by_itself_or_is_measured_where_it_stands(client: Client) -> None:
    assert client.one() == 0.25
    assert 0 <= client.many(3) < 1
    assert client.ask("done") == 4


def test_a_client_may_know_more(client: Client) -> None:
    assert client.ask("echo", said={"a": [1, None]}) == {"a": [1, None]}


def test_what_fails_in_a_client_is_told_and_the_next_question_is_answered(client: Client) -> None:
    with pytest.raises(NotDone, match="somebody, fail: ValueError: no"):
        client.ask("fail")

    assert client.ask("done") == 0


def test_a_client_that_has_ended_is_no_riddle(client: Client) -> None:
    with pytest.raises(NotDone, match=r"the client of somebody has ended \(leave\)"):
        client.ask("leave")
    client.process.wait()

    with pytest.raises(NotDone, match="has ended before done"):
        client.ask("done")


def test_a_process_that_ends_while_it_is_waited_for_is_told(place: Place) -> None:
    with (
        place.process("short", [sys.executable, "-c", "raise SystemExit(7)"]) as process,
        pytest.raises(NotDone, match="the server: its process ended with code 7"),
    ):
        wait_for(lambda: False, "the server", process)


def test_what_a_process_has_started_ends_with_it(tmp_path: Path) -> None:
    place = Place(tmp_path, {"PATH": os.environ["PATH"]}, patience=0)
    child = tmp_path / "child"
    with place.process("parent", ["/bin/sh", "-c", f"sleep 60 & echo $! > {child}.new; mv {child}.new {child}; wait"]):
        deadline = time.monotonic() + 10
        while not child.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pid = int(child.read_text())
        assert Path(f"/proc/{pid}").exists()

    deadline = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Somebody:
    """A contender whose work is done at once."""

    name: str
    place: Place
    at: list[str]
    stored: str = "nowhere"
    clients: int = 1
    asked: list[int] = field(default_factory=list[int])

    @contextmanager
    def at_work(self, lab: Lab) -> Iterator[Team]:
        self.at.append(self.name)
        with (
            self.place.client(self.name, [sys.executable, "-c", ANSWERING]) as first,
            self.place.client(self.name, [sys.executable, "-c", ANSWERING]) as second,
        ):
            clients = (first, second)[: self.clients]
            yield Team(clients, {"worker": first.process.pid})
            self.asked += [client.ask("done") for client in clients]


def test_the_rounds_are_interleaved_and_each_begins_with_another_one(place: Place) -> None:
    at: list[str] = []
    several = [Somebody("a", place, at), Somebody("b", place, at, clients=2)]

    sides = rounds.measure(cast(Lab, None), several, Amount(rounds=2, singles=2, burst=5), lambda _: None)

    assert at == ["a", "b", "b", "a"]
    assert [(side.name, side.one.median, side.one.count, len(side.by_round)) for side in sides] == [
        ("a", 0.25, 4, 2),
        ("b", 0.25, 4, 2),
    ]
    assert several[0].asked == [2 + 2 + 5, 2 + 2 + 5 + 5]  # not counted, singles, burst, burst of the last round
    assert several[1].asked == [2 + 2 + 3, 2, 2 + 2 + 3 + 3, 2 + 2]
    for side in sides:
        assert side.burst is not None
        assert side.burst.rate.count == 2
        assert side.burst.peak["worker"] > 0


def test_without_a_burst_there_is_none(place: Place) -> None:
    (side,) = rounds.measure(
        cast(Lab, None), [Somebody("a", place, [])], Amount(rounds=1, singles=1, burst=0), lambda _: None
    )

    assert side.burst is None
