"""What stays open from run to run: as long as the settings stay the same, and never in a copy of the process."""

import os
from collections.abc import Iterator

import pytest

from resources.lasting import Lasting, Opened
from tenant_pipelines import settings
from tenant_pipelines.saga.later import Later
from tenant_pipelines.settings import Settings


class System:
    """Stands where a resource of ours does."""

    def __init__(self) -> None:
        self.made = 0

    def adapter(self) -> "System":
        self.made += 1
        return self


class Another(System):
    """Of another class."""


NAMES = (
    "identity", "schemas", "store", "infrastructure", "kubernetes", "docker", "dns", "billing", "mailer", "app_plane",
)  # fmt: skip


def systems(of: type[System] = System) -> dict[str, System]:
    return {name: of() for name in NAMES}


@pytest.fixture
def lasting() -> Iterator[Lasting]:
    made = Lasting()
    yield made
    made.close()


def test_the_next_run_finds_the_ledger_and_the_adapters_as_they_were(
    lasting: Lasting, settings_for_tests: Settings
) -> None:
    first = systems()
    opened = lasting.opened(settings_for_tests, first)
    _use(opened)

    again = lasting.opened(settings.load(), systems())
    _use(again)

    assert again is opened
    assert first["identity"].made == 1


def _use(opened: Opened) -> None:
    """As a step does that needs it."""
    identity = opened.world.identity
    assert isinstance(identity, Later)
    identity()


def test_a_secret_that_was_replaced_is_used_by_the_next_run(
    lasting: Lasting, settings_for_tests: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = lasting.opened(settings_for_tests, systems())
    monkeypatch.setenv("TENANT_PIPELINES_STRIPE_KEY", "another")

    again = lasting.opened(settings.load(), systems())

    assert again is not opened
    assert opened.database._pool.closed


def test_resources_of_another_class_are_used_by_the_next_run(lasting: Lasting, settings_for_tests: Settings) -> None:
    opened = lasting.opened(settings_for_tests, systems())

    assert lasting.opened(settings_for_tests, systems(Another)).world is not opened.world


def test_a_copy_of_the_process_opens_its_own_and_closes_none_of_its_parents(
    lasting: Lasting, settings_for_tests: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = lasting.opened(settings_for_tests, systems())
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)

    again = lasting.opened(settings_for_tests, systems())

    assert again.database is not opened.database
    assert not opened.database._pool.closed
    lasting.close()
    opened.database.close()
