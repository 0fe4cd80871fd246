"""Workers, supervisor and database killed in the middle of fifty provisionings: none is lost, none is doubled."""

import pytest

from tenant_pipelines.domain.retries import Group
from tests.crash import machine
from tests.crash.chaos import storm

SETTINGS = {
    "app_plane_wait": "0.5",
    "sweep_after": "1",
    **{f"retry_{group}_one_attempt": "120" for group in Group},
    **{f"retry_{group}_all_attempts": "240" for group in Group},
}
"""The product's times, more or less: a step may well be in the hands of several workers, one after the other."""


SLOW = [pytest.param(seed, 50, 8, marks=pytest.mark.slow) for seed in range(2, 12)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "many", "hits"), [(1, 15, 4), *SLOW])
def test_every_run_ends_as_the_rules_say(monkeypatch: pytest.MonkeyPatch, seed: int, many: int, hits: int) -> None:
    with machine.running(seconds=0.01, settings=SETTINGS) as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        storm(started, seed, many=many, hits=hits)
