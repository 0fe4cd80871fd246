"""The systems of the local stack, one set for each test process, and a world of its own for each test."""

import gc
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tenant_pipelines import logs, settings
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.saga import work
from tenant_pipelines.saga.later import Later, LaterMapping
from tests.world.systems import Systems, Thing, running
from tests.world.world import SETTINGS, Composed, World, compose


@pytest.fixture(scope="session")
def systems() -> Iterator[Systems]:
    """PostgreSQL, S3 and every stand-in."""
    with running(SETTINGS) as started:
        yield started


@pytest.fixture
def at_home(systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the stack's folder, where the settings are found as the product finds them."""
    monkeypatch.chdir(systems.folder.home)


@pytest.fixture(scope="session")
def composed(systems: Systems) -> Iterator[Composed]:
    """The product's own composition, with all adapters made."""
    log = logging.getLogger(logs.NAME)
    before, log.handlers = log.handlers, []
    here = Path.cwd()
    os.chdir(systems.folder.home)
    try:
        given = settings.load()
        database = Database(given.database_url.get_secret_value())
        world = compose(given, database)
        for adapter in _later(world):
            adapter()
    finally:
        os.chdir(here)
    made = Composed(given, database, world)
    yield made
    database.close()
    _let_go([world, *made.others])
    for handler in log.handlers:
        handler.close()
    log.handlers = before


@pytest.fixture(scope="session")
def neighbour(systems: Systems, composed: Composed) -> frozenset[Thing]:
    """Everything of another tenant, provisioned once."""
    other = World(systems, composed)
    other.key = "neighbour"
    assert other.run().waiting_until is not None
    assert other.confirm().state is State.COMPLETED
    found = frozenset(other.things)
    assert {thing.system for thing in found} == {
        "postgres",
        "s3",
        "keycloak",
        "terraform",
        "kubernetes",
        "dns",
        "stripe",
        "novu",
        "app_plane",
    }
    return found


@pytest.fixture
def world(systems: Systems, composed: Composed, neighbour: frozenset[Thing], at_home: None) -> Iterator[World]:
    """The world of a tenant that has just been thought of. The neighbour's things are the same before and after."""
    made = World(systems, composed)
    yield made
    systems.mend()
    assert systems.things_of("neighbour") == neighbour


def _later(world: work.World) -> list[Later[Any]]:
    """Every adapter of the world that is made when it is first used."""
    adapters = [getattr(world, field.name) for field in fields(world)]
    if isinstance(world.platforms, LaterMapping):
        adapters += world.platforms._values.values()
    return [adapter for adapter in adapters if isinstance(adapter, Later)]


def _let_go(worlds: Sequence[work.World]) -> None:
    """Adapters live as long as their process: what connections their libraries keep open is closed with them."""
    with warnings.catch_warnings(action="ignore"):
        for adapter in chain.from_iterable(map(_later, worlds)):
            adapter._made.clear()
        gc.collect()
