"""What every test may ask for. The environment's own settings never reach a test."""

import os
import time
from collections.abc import Callable

import pytest

from tenant_pipelines.domain.call import Call, Mark


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TENANT_PIPELINES_") and not name.startswith("TENANT_PIPELINES_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def mark() -> Mark:
    """The tenant that most tests are about."""
    return Mark("6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "acme")


@pytest.fixture
def neighbour() -> Mark:
    """Another tenant, whose things nobody may touch."""
    return Mark("0d9c8b7a-6e5f-4a3b-8c2d-1e0f9a8b7c6d", "neighbour")


class Fence:
    """Counts the writes that asked; raises once it has been lowered."""

    def __init__(self) -> None:
        self.asked = 0
        self.lowered = False

    def __call__(self) -> None:
        self.asked += 1
        if self.lowered:
            raise FenceLowered


class FenceLowered(Exception):
    """This run may not act any longer."""


@pytest.fixture
def fence() -> Fence:
    """The fence of the calls made with `call`."""
    return Fence()


@pytest.fixture
def call(fence: Fence) -> Callable[..., Call]:
    """Makes calls: `call()`, `call(seconds=1)`, `call(key="another")`."""

    def make(*, seconds: float = 20.0, key: str = "6f2b7c3e:1:step") -> Call:
        return Call(key=key, deadline=time.monotonic() + seconds, fence=fence)

    return make
