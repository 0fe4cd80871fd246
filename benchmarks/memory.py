"""The memory of the stack: idle, and while several tenants are provisioned at once."""

import threading
import time
from collections.abc import Sequence

from benchmarks import usage, watch
from benchmarks.client import Client
from benchmarks.results import Memory
from benchmarks.usage import Roots

AT_ONCE = 4
EVERY = 0.3
"""Seconds between two samples; a sample itself takes some, since the kernel walks through every page table."""


class Sampler(threading.Thread):
    """Samples until told to stop."""

    def __init__(self, begin: Roots) -> None:
        super().__init__(name="memory", daemon=True)
        self.samples: list[dict[str, float]] = []
        self._begin = begin
        self._over = threading.Event()

    def run(self) -> None:
        """Sample, once at least."""
        while True:
            self.samples.append(usage.memory(usage.snapshot(), self._begin))
            if self._over.wait(EVERY):
                return

    def stop(self) -> None:
        """Return after the last sample."""
        self._over.set()
        self.join()


def at_rest(begin: Roots) -> dict[str, float]:
    """Bytes by part, now."""
    return usage.memory(usage.snapshot(), begin)


def measure(client: Client, begin: Roots, *, idle: dict[str, float], tier: str) -> Memory:
    """Provision several tenants at once."""
    tenants = [client.create(tier) for _ in range(AT_ONCE)]
    sampler = Sampler(begin)
    sampler.start()
    began = time.monotonic()
    try:
        client.heard([client.start(tenant).execution for tenant in tenants])
    finally:
        seconds = time.monotonic() - began
        sampler.stop()
    watch.settle(begin)
    return Memory(idle, *_highest(sampler.samples), len(sampler.samples), AT_ONCE, seconds)


def _highest(samples: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The sample with the largest sum, and each part's own largest."""
    names = {name for sample in samples for name in sample}
    peak = max(samples, key=lambda sample: sum(sample.values()))
    return peak, {name: max(sample.get(name, 0.0) for sample in samples) for name in names}
