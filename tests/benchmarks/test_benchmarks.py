"""The parts of the benchmarks that need no stack: arithmetic, reading, tables."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from benchmarks import databases, tables, timeline, usage
from benchmarks.figures import Summary, grown, milliseconds, per_run, summaries, summary
from benchmarks.machine import TICKS
from benchmarks.results import Alone, Failing, Idle, Machine, Memory, Provisioning, Results, Step, Usage
from benchmarks.usage import Process, Roots

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def test_a_summary_is_the_median_with_its_range() -> None:
    assert summary([3.0, 1.0, 8.0]) == Summary(3.0, 1.0, 8.0, 3)


def test_of_nothing_there_is_no_summary() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        summary([])


def test_each_name_is_summarised_over_the_rounds_that_have_it() -> None:
    found = summaries([{"queue": 1.0, "steps": 4.0}, {"steps": 6.0}])

    assert found == {"queue": Summary(1.0, 1.0, 1.0, 1), "steps": Summary(5.0, 4.0, 6.0, 2)}


def test_what_the_idle_stack_uses_is_not_charged_to_the_runs() -> None:
    added = grown({"web": 10.0}, {"web": 18.0, "runs": 6.0})

    assert per_run(added, runs=2, seconds=10, idle_rate={"web": 0.2}) == {"web": 3.0, "runs": 3.0}


def test_milliseconds_have_a_fraction_only_where_it_says_something() -> None:
    assert [milliseconds(0.00123), milliseconds(1.2345)] == ["1.2", "1234"]


@pytest.mark.parametrize("command", ["python", "a b) (c", "x) S 9 9"])
def test_a_command_cannot_confuse_the_reading_of_a_process(command: str) -> None:
    numbers = " ".join(str(number) for number in range(4, 60))
    ticks = TICKS

    found = usage.parse(7, f"7 ({command}) S {numbers}")

    assert found == Process(7, 4, (14 + 15) / ticks, (16 + 17) / ticks)


def test_cpu_is_counted_by_part_and_what_has_ended_is_not_lost() -> None:
    processes = {
        process.pid: process
        for process in (
            Process(1, 0, 1.0, 50.0),  # the supervisor, with all that it has ever waited for
            Process(2, 1, 3.0, 4.0),  # the code server, and the runs that have ended
            Process(3, 2, 5.0, 0.5),  # a run
            Process(4, 1, 7.0, 0.25),  # PostgreSQL, and its sessions
            Process(5, 4, 2.0, 0.0),
            Process(6, 0, 9.0, 0.0),  # somebody else's
        )
    }

    found = usage.cpu(processes, Roots({"dagster-code": 2, "postgres": 4}, {"supervisor": 1}))

    assert found == {"dagster-code": 3.0, "runs": 9.5, "postgres": 9.25, "supervisor": 1.0}


def test_statements_are_counted_by_database() -> None:
    lines = [
        "bench/arc_saas/ LOG:  statement: BEGIN\n",
        "bench/arc_saas/ LOG:  execute <unnamed>: select\n",
        "\t* from engine.steps\n",
        "bench/dagster/ LOG:  execute S_1: select 1\n",
        "bench// LOG:  checkpoint starting: time\n",
        "bench/dagster/ ERROR:  no\n",
    ]

    assert databases.count(lines) == {"arc_saas": 2.0, "dagster": 1.0}


def ledger_rows() -> tuple[timeline.Row, list[timeline.Row], list[timeline.Row]]:
    execution: timeline.Row = {
        "started_at": at(0),
        "closed_at": at(9),
        "state": "completed",
        "step": "completed",
        "error": None,
    }
    steps: list[timeline.Row] = [
        {"number": 1, "step": "one", "state": "done", "started_at": at(3), "inside": 1.0, "last_end": at(4)},
        {"number": 2, "step": "two", "state": "skipped", "started_at": at(4.5), "inside": 0.0, "last_end": None},
        {"number": 3, "step": "three", "state": "done", "started_at": at(5), "inside": 2.0, "last_end": at(7)},
    ]
    events: list[timeline.Row] = [
        {"type": "Started", "step": None, "at": at(0)},
        {"type": "Started", "step": "one", "at": at(3)},
    ]
    return execution, steps, events


def test_a_step_lasts_until_the_next_one_and_the_last_until_its_own_end() -> None:
    found = timeline.timeline(*ledger_rows())

    assert [(step.name, step.whole, step.inside) for step in found.steps] == [
        ("one", 1.5, 1.0),
        ("two", 0.5, 0.0),
        ("three", 2.0, 2.0),
    ]
    assert found.last_step_done == at(7).timestamp()


def test_an_event_counts_from_its_first_time() -> None:
    assert timeline.timeline(*ledger_rows()).events == {"Started": BEGIN.timestamp()}


def a_step(whole: float, inside: float, state: str = "done") -> Step:
    return Step(1, "one", state, summary([whole]), summary([inside]))


@pytest.mark.parametrize(
    ("step", "shares"),
    [
        (a_step(0.5, 0.25), (0.5, 0.125, 0.25, 0.125)),
        (a_step(0.5, 0.0, "skipped"), (0.5, 0.0, 0.125, 0.375)),
    ],
    ids=["done", "skipped"],
)
def test_the_engine_alone_tells_the_ledgers_share_from_the_adapters(
    step: Step, shares: tuple[float, float, float, float]
) -> None:
    assert tables.shared(step, [a_step(0.25, 0.125)]) == shares


def test_everything_measured_is_shown() -> None:
    one = summary([1.25])
    used = Usage({"runs": 2.5}, {"arc_saas": 77.0}, {"arc_saas": 0.0}, {"arc_saas": 3.0}, 0.5)
    results = Results(
        Machine("2026-01-01", "A processor", 2, 1024**3, "Linux", {"dagster": "1"}, (0.5, 1.5)),
        1,
        own_stack=True,
        idle=Idle(20, {"runs": 0.0}, {"arc_saas": 1.0}, {"arc_saas": 0.5}, 0.1),
        provisioning=[Provisioning("silo", one, {"queue": one}, [a_step(1, 0.5)], used, {"arc_saas": 123.0})],
        failing=Failing("one", {"until the first undo": one}),
        memory=Memory({"runs": 0.0}, {"runs": 1024**2}, {"runs": 1024**2}, 4, 4, 9.5),
        alone=[Alone("directly", one, [a_step(0.25, 0.125)], 321.0)],
    )
    written = io.StringIO()
    console = Console(width=160, file=written)

    for table in tables.shown(results):
        console.print(table)

    for said in ("A processor", "silo tenant", "1 one", "until the first undo", "321", "123", "77", "2.50", "9.5 s"):
        assert said in written.getvalue()
