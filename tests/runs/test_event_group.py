"""Events on their way into Dagster's log: in groups, in order, each once, whatever the database does meanwhile."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from tenant_pipelines.runs import event_group
from tenant_pipelines.runs.event_group import EventGroup, Row

LONG = 60.0
SOON = 5.0


class Interrupted(BaseException):
    """What Dagster raises in the main thread when a run is terminated."""


class Table:
    """Keeps what it is given, and can be away."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.groups: list[list[str]] = []
        self.away = False
        self.lose_answer: BaseException | None = None
        self.refused: set[str] = set()
        self.asked = threading.Semaphore(0)

    def write(self, rows: Sequence[Row]) -> int:
        self.asked.release()
        if self.away:
            raise away()
        names = [row["event"] for row in rows]
        if self.refused & set(names):
            raise ProgrammingError("insert", {}, Exception("refused"))
        self.stored += names
        self.groups.append(names)
        if self.lose_answer is not None:
            lost, self.lose_answer = self.lose_answer, None
            raise lost
        return len(self.stored)

    def holds(self, row: Row, after: int) -> bool:
        self.asked.release()
        if self.away:
            raise away()
        return row["event"] in self.stored[after:]


def away() -> OperationalError:
    return OperationalError("insert", {}, Exception("server closed the connection"))


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def group(table: Table) -> Iterator[EventGroup]:
    """One whose thread does nothing by itself."""
    made = EventGroup(table, latest=LONG, apart=0)
    yield made
    table.away, table.refused = False, set()
    made.close()


def tell(group: EventGroup, *names: str) -> None:
    for name in names:
        group.add({"run_id": "r", "event": name})


def test_nothing_is_written_before_the_step_ends(table: Table, group: EventGroup) -> None:
    tell(group, "start", "output")
    assert table.groups == []

    group.end_step()

    assert table.groups == [["start", "output"]]


def test_settling_with_nothing_to_write_asks_nothing(table: Table, group: EventGroup) -> None:
    group.end_step()

    assert table.groups == []


def test_an_event_is_written_in_time_though_the_step_goes_on(table: Table) -> None:
    group = EventGroup(table, latest=0.01, apart=0)

    tell(group, "start")

    assert table.asked.acquire(timeout=SOON)
    group.close()
    assert table.stored == ["start"]


def test_steps_that_end_quickly_go_together(table: Table) -> None:
    group = EventGroup(table, latest=LONG, apart=LONG)
    for name in ("one", "two", "three"):
        tell(group, f"start {name}", f"end {name}")
        group.end_step()
    assert table.groups == [["start one", "end one"]]  # nothing had been written for long

    group.close()

    assert table.groups[1:] == [["start two", "end two", "start three", "end three"]]


def test_the_end_of_a_quick_step_is_written_in_time_though_no_other_step_ends(table: Table) -> None:
    group = EventGroup(table, latest=LONG, apart=0.05)
    tell(group, "one")
    group.end_step()
    assert table.asked.acquire(timeout=SOON)

    tell(group, "two")
    group.end_step()

    assert table.asked.acquire(timeout=SOON)
    group.close()
    assert table.stored == ["one", "two"]


def test_a_step_that_ends_late_enough_does_not_wait_for_others(table: Table) -> None:
    group = EventGroup(table, latest=LONG, apart=0.001)
    tell(group, "one")
    group.end_step()
    deadline = time.monotonic() + SOON
    while time.monotonic() - group._stored_at < 0.001:
        assert time.monotonic() < deadline
    tell(group, "two")

    group.end_step()

    assert table.stored == ["one", "two"]
    group.close()


def test_many_events_do_not_wait_for_the_end_of_the_step(table: Table, group: EventGroup) -> None:
    names = [f"log {number}" for number in range(event_group.MOST)]

    tell(group, *names)

    assert table.groups == [names]


def test_closing_writes_what_waits_and_ends_the_thread(table: Table) -> None:
    before = threading.active_count()
    group = EventGroup(table, latest=LONG, apart=0)
    tell(group, "last")

    group.close()

    assert table.stored == ["last"]
    assert threading.active_count() == before


# While the database is away


def test_a_step_ends_though_the_database_is_away_and_nothing_is_lost(table: Table, group: EventGroup) -> None:
    table.away = True
    tell(group, "a", "b")
    group.end_step()
    tell(group, "c")
    group.end_step()

    table.away = False
    group.flush()

    assert table.stored == ["a", "b", "c"]


def test_once_it_is_known_to_be_away_no_step_asks_again(table: Table, group: EventGroup) -> None:
    table.away = True
    tell(group, "a")
    group.end_step()
    while table.asked.acquire(blocking=False):
        pass

    tell(group, *(f"log {number}" for number in range(3 * event_group.MOST)))
    group.end_step()

    assert not table.asked.acquire(blocking=False)


def test_the_thread_tries_until_it_is_back(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_group, "_AGAIN", 0.01)
    group = EventGroup(table, latest=0.01, apart=0)
    table.away = True
    tell(group, "a")
    assert table.asked.acquire(timeout=SOON)
    assert table.asked.acquire(timeout=SOON)

    table.away = False

    while not table.stored:
        assert table.asked.acquire(timeout=SOON)
    assert table.stored == ["a"]
    group.close()


def test_a_look_fails_while_it_is_away_and_loses_nothing(table: Table, group: EventGroup) -> None:
    table.away = True
    tell(group, "a")

    with pytest.raises(OperationalError):
        group.flush()

    table.away = False
    group.flush()
    assert table.stored == ["a"]


def test_a_change_of_status_waits_until_it_is_back(table: Table, group: EventGroup) -> None:
    table.away = True
    tell(group, "the end")
    waits = threading.Thread(target=group.flush, args=(LONG,))
    waits.start()
    assert table.asked.acquire(timeout=SOON)
    assert table.asked.acquire(timeout=SOON)  # it has tried again

    table.away = False

    waits.join(SOON)
    assert not waits.is_alive()
    assert table.stored == ["the end"]


# Each exactly once


@pytest.mark.parametrize("lost", [away(), Interrupted()], ids=["the connection is lost", "the run is interrupted"])
def test_a_group_that_was_stored_without_an_answer_is_not_stored_twice(
    table: Table, group: EventGroup, lost: BaseException
) -> None:
    tell(group, "a", "b")
    table.lose_answer = lost
    with pytest.raises(type(lost)):
        group.flush()

    tell(group, "c")
    group.flush()

    assert table.stored == ["a", "b", "c"]


def test_an_event_that_is_the_same_as_an_earlier_one_is_stored_as_well(table: Table, group: EventGroup) -> None:
    tell(group, "a")
    group.flush()
    tell(group, "a")
    table.away = True
    group.end_step()

    table.away = False
    group.flush()

    assert table.stored == ["a", "a"]


def test_an_interrupt_after_the_last_event_leaves_nothing_to_write(
    table: Table, group: EventGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between taking the events off the list and noting their number."""
    tell(group, "a")
    monkeypatch.setattr(group, "_forget", _interrupted_after(group))
    with pytest.raises(Interrupted):
        group.flush()
    monkeypatch.undo()

    group.flush()
    tell(group, "b")
    group.flush()

    assert table.stored == ["a", "b"]


def _interrupted_after(group: EventGroup):  # type: ignore[no-untyped-def]  # noqa: ANN202
    def forget(stored: int) -> None:
        del group._waiting[:stored]
        raise Interrupted

    return forget


def test_a_refused_event_is_told_once_and_holds_back_no_other(table: Table, group: EventGroup) -> None:
    table.refused = {"bad"}
    tell(group, "a", "bad", "b")

    with pytest.raises(ProgrammingError):
        group.end_step()
    tell(group, "c")
    group.end_step()

    assert table.stored == ["a", "b", "c"]


def test_an_event_that_the_thread_found_refused_is_told_at_the_end_of_the_step(table: Table) -> None:
    table.refused = {"bad"}
    group = EventGroup(table, latest=0.01, apart=0)
    tell(group, "bad")
    assert table.asked.acquire(timeout=SOON)  # all of them
    assert table.asked.acquire(timeout=SOON)  # that one

    with pytest.raises(ProgrammingError):
        group.close()


def test_the_order_holds_when_step_and_thread_write_by_turns(table: Table) -> None:
    group = EventGroup(table, latest=0.0005, apart=0.0003)
    names = [f"event {number}" for number in range(3000)]
    for number, name in enumerate(names):
        tell(group, name)
        if number % 7 == 0:
            group.end_step()
    group.close()

    assert table.stored == names
