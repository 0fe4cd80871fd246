"""What a supervisor concludes from what it sees."""

from dataclasses import replace

import pytest

from tenant_pipelines import settings
from tenant_pipelines.launcher.decisions import (
    Vitals,
    pause_before_anew,
    pause_before_start,
    successor_first,
    why_lost,
    why_replaced,
)
from tenant_pipelines.launcher.options import Options, options_of
from tests.settings_values import environment

OPTIONS = Options("postgresql://a:hunter2@b/c", max_runs=10, max_memory=1000 * 1024**2)
WELL = Vitals(born=100.0, heard=200.0, ready=True)


@pytest.mark.parametrize(
    ("seen", "now", "why"),
    [
        (WELL, 200.0, None),
        (WELL, 209.9, None),
        (WELL, 210.0, "it has given no sign of life for 10 s"),
        (replace(WELL, stopped=200.0), 201.9, None),
        (replace(WELL, stopped=200.0), 202.0, "it has been stopped for 2 s"),
        (replace(WELL, ready=False, born=141.0), 200.0, None),
        (replace(WELL, ready=False, born=140.0), 200.0, "it was not ready after 60 s"),
    ],
)
def test_a_process_is_lost_when_it_is_silent_or_stopped_or_never_ready(
    seen: Vitals, now: float, why: str | None
) -> None:
    assert why_lost(seen, now, OPTIONS) == why


@pytest.mark.parametrize(
    ("ended", "mib", "age", "why"),
    [
        (9, 999, 10, None),
        (10, 0, 10, "it has carried out 10 runs"),
        (1, 1000, 10, "it has grown to 1000 MiB"),
        (0, 1000, 599, None),  # a successor would be as large
        (0, 1000, 600, "it has grown to 1000 MiB"),
    ],
)
def test_a_process_is_replaced_when_it_has_done_enough_or_grown(
    ended: int, mib: int, age: float, why: str | None
) -> None:
    seen = replace(WELL, ended=ended, memory=mib * 1024**2)

    assert why_replaced(seen, WELL.born + age, OPTIONS) == why


def test_a_successor_is_started_first_where_there_is_memory_for_it() -> None:
    assert successor_first(2000 * 1024**2, OPTIONS)
    assert not successor_first(1999 * 1024**2, OPTIONS)


def test_pauses_before_another_start_grow_up_to_ten_seconds() -> None:
    assert [pause_before_start(failures) for failures in (0, 1, 2, 3, 5, 6, 7, 1000)] == [0, 0.5, 1, 2, 8, 10, 10, 10]


def test_the_options_are_as_set_but_for_what_the_command_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(workers="3").items():
        monkeypatch.setenv(name, value)
    given = settings.load()

    options = options_of(given, size=7)

    assert (options.size, options.max_runs, options.silence, options.drain) == (7, 500, 10.0, 30.0)
    assert options_of(given).size == 3
    assert options.definitions == "tenant_pipelines.definitions"


def test_options_do_not_show_the_url() -> None:
    assert "hunter2" not in repr(OPTIONS)


@pytest.mark.parametrize(("breaks", "pause"), [(0, 0.0), (1, 2.0), (2, 4.0), (5, 30.0), (1000, 30.0)])
def test_what_cannot_be_imported_is_tried_again_less_and_less_often(breaks: int, pause: float) -> None:
    assert pause_before_anew(breaks) == pause


def test_one_without_a_code_location_need_not_become_ready_but_must_live() -> None:
    broken = Vitals(born=0.0, heard=1000.0, broken=True)

    assert why_lost(broken, 1000.0, OPTIONS) is None
    assert why_lost(broken, 1011.0, OPTIONS) == "it has given no sign of life for 11 s"
