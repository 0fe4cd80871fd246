"""The parts of the benchmarks that need no stack: arithmetic, reading, tables."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest

from benchmarks import databases, provisioning, tables, timeline, usage
from benchmarks.client import Started
from benchmarks.failures import Attempts, NotDone
from benchmarks.figures import Summary, grown, milliseconds, per_run, summaries, summary
from benchmarks.machine import TICKS
from benchmarks.results import (
    Alone,
    Burst,
    Failing,
    Idle,
    Killed,
    Machine,
    Memory,
    Overhead,
    Provisioning,
    Results,
    Side,
    Step,
    Usage,
    Waiting,
)
from benchmarks.usage import Process, Roots
from docs.measured import figures
from docs.measured.plot import LEFT, RIGHT, plot, scale_of
from tenant_pipelines.domain.workflow import Execution

SVG = "{http://www.w3.org/2000/svg}"

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
    found = timeline.timeline(*ledger_rows(), {})

    assert [(step.name, step.whole, step.inside) for step in found.steps] == [
        ("one", 1.5, 1.0),
        ("two", 0.5, 0.0),
        ("three", 2.0, 2.0),
    ]
    assert found.last_step_done == at(7).timestamp()


def test_an_event_counts_from_its_first_time() -> None:
    assert timeline.timeline(*ledger_rows(), {}).events == {"Started": BEGIN.timestamp()}


def test_the_phases_follow_each_other_and_leave_nothing_out() -> None:
    found = timeline.timeline(*ledger_rows(), {"queued_at": at(1), "taken_at": at(1.5)})
    called, heard = at(-0.5).timestamp(), at(9.25).timestamp()
    started = Started(cast(Execution, None), called, at(2).timestamp())

    phases = provisioning._phases(started, found, heard)

    assert list(phases.values()) == [1.5, 0.5, 1.5, 4.0, 2.0, 0.25]
    assert sum(phases.values()) == heard - called


def test_without_a_pool_nobody_takes_a_run() -> None:
    found = timeline.timeline(*ledger_rows(), {})
    started = Started(cast(Execution, None), at(0).timestamp(), at(2).timestamp())

    assert provisioning._phases(started, found, at(9).timestamp())[provisioning.READY] == 3


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


def everything() -> Results:
    one = summary([1.25])
    used = Usage({"runs": 2.5}, {"arc_saas": 77.0}, {"arc_saas": 0.0}, {"arc_saas": 3.0}, 0.5)
    burst = Burst(7, one, {"server": 0.5}, {"server": 1024.0**2})
    return Results(
        Machine("2026-01-01", "A processor", 2, 1024**3, "Linux", {"dagster": "1"}, (0.5, 1.5)),
        1,
        own_stack=True,
        sides=[Side("Somebody else", "memory", one, [1.25], burst, 0.1)],
        defaults=[Side("Dagster", "PostgreSQL", one, [1.25], None, 0.1)],
        waiting=Waiting(1000, 60, one, one, {"workers": 0.0}, {"workers": 1024.0**3}, 5, 6, 0.25),
        killed=Killed(one, one, one),
        overhead=[Overhead("bridge", one, one, one, one, one, summary([0.17]))],
        idle=Idle(20, {"runs": 0.0}, {"arc_saas": 1.0}, {"arc_saas": 0.5}, 0.1, {"runs": 0.0}, {"arc_saas": 2.5}),
        provisioning=[Provisioning("silo", one, {"queue": one}, [a_step(1, 0.5)], used, {"arc_saas": 123.0})],
        failing=Failing("one", {"until the first undo": one}),
        memory=Memory({"runs": 0.0}, {"runs": 1024**2}, {"runs": 1024**2}, 4, 4, 9.5),
        alone=[Alone("directly", one, [a_step(0.25, 0.125)], 321.0)],
    )


def test_everything_measured_is_shown() -> None:
    shown = figures.text(everything())

    said = ["A processor", "silo tenant", "1 one", "until the first undo", "321", "123", "77", "2.50", "9.5 s"]
    said += ["Somebody else", "7 at once", "server 500.0", "1000 tenants that wait", "1.024", "bridge", "17 %", "2.5"]
    for words in said:
        assert words in shown, words


def test_what_was_not_measured_is_not_shown() -> None:
    assert len(list(tables.shown(Results(everything().machine, 1, own_stack=True)))) == 1


def test_figures_that_are_written_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(asdict(everything())))

    assert figures.read(file) == everything()


def test_what_is_not_the_benchmarks_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    file.write_text('{"rounds": 1}')

    with pytest.raises(ValueError, match="machine"):
        figures.read(file)


def test_the_picture_has_everybody_and_their_figures() -> None:
    found = everything()
    drawn = ElementTree.fromstring(plot(found.sides, found.defaults))

    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"Somebody else", "Dagster", "1250", "1.2"} <= set(texts)
    assert len(list(drawn.iter(f"{SVG}circle"))) == 2
    assert [title.text for title in drawn.iter(f"{SVG}title")] == [
        "Somebody else: 1250 to 1250 ms, 1 runs",
        "1.2 to 1.2 runs a second",
        "Dagster: 1250 to 1250 ms, 1 runs",
    ]


def test_a_picture_of_nothing_is_a_picture() -> None:
    assert ElementTree.fromstring(plot([], [])).tag == f"{SVG}svg"


def test_the_scale_is_logarithmic_and_holds_every_figure() -> None:
    scale = scale_of([summary([0.05, 0.3]), summary([12.0])])

    assert [round(tick, 3) for tick in scale.ticks] == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert scale.x(0.01) == LEFT
    assert scale.x(1.0) == (LEFT + RIGHT) / 2
    assert scale.x(100.0) == RIGHT


def test_one_failed_measurement_does_not_spoil_the_others() -> None:
    told: list[str] = []
    attempts = Attempts(told.append)

    with attempts.one("the first"):
        told.append("measured")
    assert not attempts.failed
    with attempts.one("the second"):
        _raise(NotDone("nobody came"))

    assert (attempts.failed, told) == (True, ["measured", "the second: nobody came"])


def test_a_mistake_of_the_benchmark_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), Attempts(lambda _: None).one("all"):
        _raise(ZeroDivisionError())


def _raise(error: Exception) -> None:
    raise error
