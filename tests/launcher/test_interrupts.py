"""An interrupt hits the run whose lease it names, or nothing: tried around the change-over from one run to the next."""

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tenant_pipelines.launcher.interrupts import SIGNAL, Interrupts
from tenant_pipelines.ledger.launches import LaunchState
from tests.launcher.light import Interrupted, open_to_interrupts, shield
from tests.launcher.light_fixtures import control_plane, light, stage
from tests.launcher.pools import LightStage

__all__ = ["control_plane", "light", "stage"]


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (SIGNAL, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def _quick_switches() -> Iterator[None]:
    """Threads take turns every 20 microseconds instead of every 5 milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00002)
    yield
    sys.setswitchinterval(before)


def hit(interrupts: Interrupts, lease: int, seconds: float = 0.0, *, early: bool = False) -> bool:
    """Carry out a run of so many seconds under that lease; whether it was interrupted."""
    if early:
        interrupts.want(lease)
    try:
        with shield(), interrupts.holding(lease), open_to_interrupts():
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
    except Interrupted:
        return True
    return False


def test_an_interrupt_ends_the_run_of_its_lease_wherever_it_is() -> None:
    interrupts = Interrupts()
    interrupts.install()
    threading.Timer(0.05, interrupts.want, [1]).start()

    assert hit(interrupts, 1, 5.0)

    assert interrupts.acted


def test_an_interrupt_of_another_lease_is_nothing() -> None:
    interrupts = Interrupts()
    interrupts.install()

    assert not hit(interrupts, 2, early=False)
    interrupts.want(2)
    assert not hit(interrupts, 3, 0.01)

    assert not interrupts.acted


def test_an_interrupt_that_comes_before_its_run_is_kept_for_it() -> None:
    seen: list[int] = []
    interrupts = Interrupts()
    interrupts.install()
    interrupts.want(1)

    with shield():
        signal.signal(signal.SIGINT, lambda *_: seen.append(1))
        with interrupts.holding(1):
            pass

    assert seen == [1]


@pytest.mark.usefixtures("_quick_switches")
def test_a_thousand_change_overs_in_one_process() -> None:
    """Another thread interrupts every second run around its end; the runs in between are never hit."""
    chance = random.Random(4)
    hits = misses = 0
    for lease in range(0, 2000, 2):
        interrupts = Interrupts()
        interrupts.install()
        other = threading.Timer(chance.uniform(0.0, 0.002), interrupts.want, [lease])
        other.start()
        was_hit = hit(interrupts, lease, 0.001)
        next_was_hit = hit(interrupts, lease + 1, 0.001)
        other.join()
        assert not next_was_hit
        assert interrupts.acted or not was_hit
        hits, misses = hits + was_hit, misses + (not was_hit)

    assert hits > 100
    assert misses > 100


@pytest.mark.parametrize(
    "pairs",
    [pytest.param(100, id="100"), pytest.param(1000, id="1000", marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
def test_the_change_over_in_a_pool(light: LightStage, pairs: int) -> None:
    """The same through the queue, the supervisor and the pipe: every second run is wished to end around its end."""
    light.pool(waker=False)
    chance = random.Random(4)
    wished, spared = [], []
    for _ in range(pairs):
        wished.append(light.add("short"))
        spared.append(light.add("brief"))
        while light.row(wished[-1]).state is LaunchState.QUEUED:
            pass
        time.sleep(chance.uniform(0.0, 0.02))
        light.launches.wish_interrupt(wished[-1])
        light.await_state(spared[-1], LaunchState.ENDED)

    assert {light.row(run).outcome for run in spared} == {"success"}
    outcomes = [light.row(run).outcome for run in wished]
    assert "interrupted" in outcomes
    assert "success" in outcomes
    assert len(outcomes) == outcomes.count("interrupted") + outcomes.count("success")
