"""The wire between supervisor and warm process: signs of life, what is said, and what happens when one end is gone."""

import multiprocessing
import select
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import pytest

from tenant_pipelines.launcher.channel import (
    Assignment,
    Beat,
    Broken,
    Channel,
    Finish,
    Interrupt,
    Leaving,
    Tell,
    Unfit,
    enter,
)
from tests.launcher.pools import until


@pytest.fixture
def wire() -> Iterator[tuple["Connection[Any, Any]", Channel]]:
    """The supervisor's end, and an open channel."""
    ours, its = multiprocessing.Pipe()
    channel = Channel(its)
    channel.open()
    yield ours, channel
    ours.close()
    assert channel.stopping.wait(5)
    its.close()


def said(ours: "Connection[Any, Any]", kind: type) -> Any:
    """The next thing of that kind."""

    def look() -> Any:
        assert ours.poll(5)
        message = ours.recv()
        return message if isinstance(message, kind) else None

    return until(look)


def test_signs_of_life_come_by_themselves_and_say_what_it_does(wire: tuple["Connection[Any, Any]", Channel]) -> None:
    ours, channel = wire
    first = said(ours, Beat)
    assert (first.ready, first.lease, first.ended) == (False, None, 0)
    assert first.memory > 1024**2

    channel.begun(7)
    assert said(ours, Beat).lease == 7
    channel.ended()
    channel.ready()

    assert until(lambda: (beat := said(ours, Beat)).ready and beat).ended == 1


def test_what_it_says_arrives(wire: tuple["Connection[Any, Any]", Channel]) -> None:
    ours, channel = wire
    channel.tell("a line")
    channel.unfit("a reason")
    channel.leaving()

    assert said(ours, Tell) == Tell("a line")
    assert said(ours, Unfit) == Unfit("a reason")
    assert said(ours, Leaving) == Leaving()


def test_it_obeys(wire: tuple["Connection[Any, Any]", Channel]) -> None:
    ours, channel = wire
    interrupted = list[int]()
    channel.on_interrupt = interrupted.append
    ours.send(Interrupt(7))
    until(lambda: interrupted == [7])
    assert not channel.stopping.is_set()
    assert select.select([channel], [], [], 0)[0] == []

    ours.send(Finish())

    assert select.select([channel], [], [], 5)[0] == [channel]
    assert channel.stopping.is_set()
    assert not channel.orphaned


def test_a_supervisor_that_is_gone_ends_it_and_what_it_says_is_lost(
    wire: tuple["Connection[Any, Any]", Channel],
) -> None:
    ours, channel = wire
    told = threading.Event()
    channel.on_orphaned = told.set

    ours.close()

    assert told.wait(5)
    assert channel.orphaned
    assert channel.stopping.is_set()
    channel.tell("to nobody")


def test_an_assignment_and_options_can_be_handed_over() -> None:
    given = Assignment(uuid4(), "some.module")
    ours, its = multiprocessing.Pipe()
    ours.send(given)

    assert its.recv() == given
    ours.close()
    its.close()


def test_a_process_whose_module_cannot_be_imported_says_so_and_waits_to_be_replaced() -> None:
    spawning = multiprocessing.get_context("spawn")
    ours, its = spawning.Pipe()
    process = spawning.Process(target=enter, args=("tests.launcher.not_there", its, Assignment(uuid4(), "any")))
    process.start()
    its.close()

    broken = said(ours, Broken)

    assert broken == Broken(
        "tests.launcher.not_there cannot be imported: ModuleNotFoundError: No module named 'tests.launcher.not_there'"
    )
    assert process.is_alive()
    ours.send(Finish())
    process.join(10)
    assert process.exitcode == 0
    ours.close()
