"""The tables of what is compared, of what waits, and of what is killed."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from benchmarks.figures import Summary, mebibytes, milliseconds
from benchmarks.results import Killed, Overhead, Results, Side, Waiting


def tables(results: Results) -> Iterator[Table]:
    """As far as they were measured."""
    sides = [*results.sides, *results.defaults]
    if sides:
        yield _sides(sides)
    if bursts := [side for side in results.sides if side.burst]:
        yield _bursts(bursts)
        yield _cpu(bursts)
    if results.waiting:
        yield _waiting(results.waiting)
    if results.killed:
        yield _killed(results.killed)
    if results.overhead:
        yield _overhead(results.overhead)


def table_of(title: str, first: str, *heads: str) -> Table:
    """An empty table; every column but the first holds numbers."""
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column(first)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _sides(sides: Sequence[Side]) -> Table:
    heads = ["state in", "median", "lowest", "highest", "medians of rounds", "runs"]
    table = table_of("14 steps that do nothing outside, one after the other, ms", "", *heads)
    for side in sides:
        rounds = f"{milliseconds(min(side.by_round))}-{milliseconds(max(side.by_round))}"
        table.add_row(side.name, side.stored, *cells(side.one)[:3], rounds, str(side.one.count))
    return table


def _bursts(sides: Sequence[Side]) -> Table:
    heads = ["runs a second", "lowest", "highest", "CPU s a run", "MiB (PSS)", "others' cores"]
    table = table_of(f"{_count(sides)} at once", "", *heads)
    for side in sides:
        if side.burst:
            rates = (side.burst.rate.median, side.burst.rate.low, side.burst.rate.high)
            cpu, peak = sum(side.burst.cpu.values()), sum(side.burst.peak.values())
            shown = [f"{cpu:.3f}", mebibytes(peak), f"{side.others:.2f}"]
            table.add_row(side.name, *(f"{rate:.1f}" for rate in rates), *shown)
    return table


def _count(sides: Sequence[Side]) -> int:
    return next(side.burst.count for side in sides if side.burst)


def _cpu(sides: Sequence[Side]) -> Table:
    """Who uses it: what a run costs is spread over very different processes."""
    table = table_of(f"{_count(sides)} at once, by part", "", "CPU ms a run", "MiB (PSS)")
    for column in table.columns[1:]:
        column.justify = "left"
    for side in sides:
        if side.burst:
            cpu = {name: value * 1000 for name, value in side.burst.cpu.items()}
            peak = {name: value / 1024**2 for name, value in side.burst.peak.items()}
            table.add_row(side.name, _parts(cpu, ".1f"), _parts(peak, ".0f"))
    return table


def _parts(values: Mapping[str, float], form: str) -> str:
    ordered = sorted(values.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:{form}}" for name, value in ordered)


def _waiting(waiting: Waiting) -> Table:
    title = f"{waiting.tenants} tenants that wait; it took {waiting.parked:.0f} s until they did"
    table = table_of(title, "", "nobody waits", "all of them wait", "more for each")
    memory = sum(waiting.memory_idle.values()), sum(waiting.memory.values())
    more = (memory[1] - memory[0]) / waiting.tenants
    new = waiting.idle.median, waiting.meanwhile.median
    table.add_row("a new tenant, median ms", *map(milliseconds, new), f"x {new[1] / new[0]:.2f}")
    table.add_row("  lowest to highest", _range(waiting.idle), _range(waiting.meanwhile), "")
    table.add_row("processes without PostgreSQL's", str(waiting.processes_idle), str(waiting.processes), "")
    table.add_row("memory (PSS), MiB", *map(mebibytes, memory), f"{more / 1024**2:.3f}")
    for name in waiting.memory:
        parts = waiting.memory_idle.get(name, 0.0), waiting.memory[name]
        table.add_row(f"  {name}", *map(mebibytes, parts), "")
    table.add_row("CPU while they wait, % of a core", "", f"{waiting.cpu * 100:.1f}", "")
    return table


def _range(figures: Summary) -> str:
    return f"{milliseconds(figures.low)}-{milliseconds(figures.high)}"


def _killed(killed: Killed) -> Table:
    table = table_of("After SIGKILL of the worker in the middle of step 7, ms", "", "median", "lowest", "highest", "")
    table.add_row("until its continuation is recorded", *cells(killed.noticed))
    table.add_row("until another worker begins the step", *cells(killed.continued))
    table.add_row("until the client knows of the end", *cells(killed.known))
    return table


def _overhead(overhead: Sequence[Overhead]) -> Table:
    table = table_of(
        "A real provisioning on the local stack, median ms",
        "tier",
        "all",
        "in adapters",
        "outside goes on",
        "app plane",
        "ours",
        "ours / outside",
        "lowest",
        "highest",
    )
    for one in overhead:
        parts = (one.total, one.calls, one.waits, one.confirmation, one.ours)
        share = (one.share.median, one.share.low, one.share.high)
        table.add_row(
            one.tier, *(milliseconds(part.median) for part in parts), *(f"{value * 100:.0f} %" for value in share)
        )
    return table


def cells(figures: Summary) -> Sequence[str]:
    """Median, lowest, highest in milliseconds, and of how many."""
    return [milliseconds(value) for value in (figures.median, figures.low, figures.high)] + [str(figures.count)]
