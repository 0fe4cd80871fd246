"""From many measurements to the few figures that are shown."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What repeated measurements came to.

    Args:
        median, low, high: in the unit of the measurements.
        count: how many there were.
    """

    median: float
    low: float
    high: float
    count: int


def summary(values: Iterable[float]) -> Summary:
    """Median and range.

    Raises: ValueError when there is nothing to summarise.
    """
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return Summary(statistics.median(found), found[0], found[-1], len(found))


def summaries(rounds: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """The same for every name, in the order of the first round; a name may be missing in some rounds."""
    names = dict.fromkeys(name for one in rounds for name in one)
    return {name: summary(one[name] for one in rounds if name in one) for name in names}


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was added to each counter; one that appeared meanwhile began at zero."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def per_run(
    grown: Mapping[str, float], *, runs: int, seconds: float, idle_rate: Mapping[str, float]
) -> dict[str, float]:
    """What one run costs: the growth without what the idle stack would have added in the same time.

    Args: idle_rate: per second, of the idle stack.
    """
    return {name: (value - idle_rate.get(name, 0.0) * seconds) / runs for name, value in grown.items()}


def milliseconds(seconds: float) -> str:
    """As people read it: no fractions above ten."""
    value = seconds * 1000
    return f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"


def mebibytes(size: float) -> str:
    """A size in MiB."""
    return f"{size / 1024**2:.0f}"
