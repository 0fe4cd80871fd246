"""A company on fakes, and a real ledger."""

from collections.abc import Iterator

import pytest

from tests.fakes.company import Company
from tests.fakes.systems import Systems, world


@pytest.fixture
def systems() -> Systems:
    return Systems()


@pytest.fixture
def company(database: str, systems: Systems) -> Iterator[Company]:
    made = Company(database, world(systems))
    yield made
    made.close()
