"""The results as tables for people."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks import contest_tables
from benchmarks.contest_tables import cells, table_of
from benchmarks.figures import Summary, mebibytes, milliseconds
from benchmarks.results import Alone, Idle, Machine, Memory, Provisioning, Results, Step


def tables(results: Results) -> Iterator[Table]:
    """All that there is to show about the product, in the order in which it is best read."""
    yield from contest_tables.tables(results)
    baseline = results.alone[0].steps if results.alone else []
    for tier in results.provisioning:
        yield _phases(f"Provisioning of a {tier.tier} tenant, ms", tier.total, tier.phases)
        yield _steps(tier, baseline)
    if results.failing:
        yield _phases(f"After the failure of step {results.failing.step}, ms", None, results.failing.phases)
    if results.alone:
        yield _alone(results.alone)
    if results.idle:
        yield _idle(results.idle)
    if results.provisioning and results.idle:
        yield _cpu(results.provisioning, results.idle)
        yield _databases(results.provisioning, results.idle)
    if results.memory:
        yield _memory(results.memory)


def _machine(machine: Machine) -> RenderableType:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gib = machine.memory / 1024**3
    return Text(
        f"{machine.at}   {machine.cpu}, {machine.cores} cores, {gib:.1f} GiB, {machine.system}\n{versions}\n"
        f"Load average over a minute: {machine.load[0]:.1f} before, {machine.load[1]:.1f} after"
    )


def _phases(title: str, total: Summary | None, phases: Mapping[str, Summary]) -> Table:
    table = table_of(title, "", "median", "lowest", "highest", "rounds")
    for name, figures in phases.items():
        table.add_row(name, *cells(figures))
    if total is not None:
        table.add_section()
        table.add_row("all, as the client sees it", *cells(total))
    return table


def _steps(tier: Provisioning, baseline: Sequence[Step]) -> Table:
    table = table_of(
        f"Steps of a {tier.tier} tenant, median ms", "step", "", "whole", "adapter", "ledger", "Dagster and the rest"
    )
    sums = [0.0, 0.0, 0.0, 0.0]
    for step in tier.steps:
        shares = shared(step, baseline)
        sums = [a + b for a, b in zip(sums, shares, strict=True)]
        state = "" if step.state == "done" else step.state
        table.add_row(f"{step.number} {step.name}", state, *(milliseconds(share) for share in shares))
    table.add_section()
    table.add_row("sum of the medians", "", *(milliseconds(value) for value in sums))
    return table


def shared(step: Step, baseline: Sequence[Step]) -> tuple[float, float, float, float]:
    """Whole, adapter's share, ledger's share, rest; seconds.

    Args: baseline: the engine alone. What lies inside an attempt there is the ledger's and not the adapter's; what a
        whole step takes there is the ledger's and the engine's.
    """
    alone = next((one for one in baseline if one.name == step.name), None)
    whole = step.whole.median
    if alone is None:
        return whole, step.inside.median, 0.0, whole - step.inside.median
    if step.state == "skipped":
        ledger = min(alone.inside.median, whole)  # one transaction instead of two, and no fence
        return whole, 0.0, ledger, whole - ledger
    adapter = max(step.inside.median - alone.inside.median, 0.0)
    ledger = min(alone.whole.median, whole - adapter)
    return whole, adapter, ledger, whole - adapter - ledger


def _alone(alone: Sequence[Alone]) -> Table:
    title = "The engine alone: 14 steps, adapters that do nothing, no Dagster"
    table = table_of(title, "database", "median ms", "lowest", "highest", "rounds", "statements")
    for one in alone:
        statements = "" if one.statements is None else f"{one.statements:.0f}"
        table.add_row(one.way, *cells(one.total), statements)
    return table


def _idle(idle: Idle) -> Table:
    memory, cpu = sum(idle.memory.values()), sum(idle.cpu.values()) * 100
    columns = ["CPU, % of a core", "MiB (PSS)", "commits a second", "statements a second"]
    table = table_of(f"The whole stack, unused for {idle.seconds:.0f} s", "part or database", *columns)
    for name in _names([idle.cpu, idle.memory]):
        table.add_row(name, f"{idle.cpu.get(name, 0.0) * 100:.1f}", mebibytes(idle.memory.get(name, 0.0)), "", "")
    for name, commits in idle.commits.items():
        statements = "" if idle.statements is None else f"{idle.statements.get(name, 0.0):.1f}"
        table.add_row(f"database {name}", "", "", f"{commits:.1f}", statements)
    table.add_section()
    statements = "" if idle.statements is None else f"{sum(idle.statements.values()):.1f}"
    table.add_row("all", f"{cpu:.1f}", mebibytes(memory), f"{sum(idle.commits.values()):.1f}", statements)
    return table


def _cpu(tiers: Sequence[Provisioning], idle: Idle) -> Table:
    table = table_of("CPU", "part", "idle, % of a core", *(f"{tier.tier} run, s" for tier in tiers))
    columns = [idle.cpu, *(tier.usage.cpu for tier in tiers)]
    for name in _names(columns):
        table.add_row(name, *_cpu_cells([column.get(name, 0.0) for column in columns]))
    table.add_section()
    table.add_row("all", *_cpu_cells([sum(column.values()) for column in columns]))
    others = [idle.others, *(tier.usage.others for tier in tiers)]
    table.add_row("other programs meanwhile", *(f"{cores * 100:.0f} %" for cores in others))
    return table


def _cpu_cells(values: Sequence[float]) -> Sequence[str]:
    return [f"{values[0] * 100:.1f}", *(_never_below_zero(value) for value in values[1:])]


def _never_below_zero(seconds: float) -> str:
    """What rests while runs are going on has used less than it does idle."""
    return f"{max(seconds, 0.0):.2f}"


def _databases(tiers: Sequence[Provisioning], idle: Idle) -> Table:
    table = table_of("Databases", "", "idle, a second", *(f"{tier.tier} run" for tier in tiers))
    for name in idle.commits:
        rows = {
            "commits": [f"{idle.commits[name]:.1f}", *(f"{tier.usage.commits[name]:.0f}" for tier in tiers)],
            "rollbacks": ["", *(f"{tier.usage.rollbacks[name]:.0f}" for tier in tiers)],
            "connections": [
                f"{idle.connections[name]:.1f}",
                *(f"{tier.usage.connections[name]:.0f}" for tier in tiers),
            ],
            "statements (idle ones included)": ["", *(_count(tier.statements, name) for tier in tiers)],
        }
        for what, row in rows.items():
            table.add_row(f"{name}: {what}", *row)
    return table


def _count(found: Mapping[str, float] | None, name: str) -> str:
    return "" if found is None else f"{found.get(name, 0.0):.0f}"


def _memory(memory: Memory) -> Table:
    title = f"Memory (PSS), MiB; {memory.tenants} tenants at once took {memory.seconds:.1f} s, {memory.samples} samples"
    columns = [memory.idle, memory.peak, memory.highest]
    table = table_of(title, "part", "idle", "when all was largest", "its own largest")
    for name in _names(columns):
        table.add_row(name, *(mebibytes(column.get(name, 0.0)) for column in columns))
    table.add_section()
    table.add_row("all", *(mebibytes(sum(column.values())) for column in columns[:2]), "")
    return table


def _names(columns: Sequence[Mapping[str, float]]) -> Sequence[str]:
    """The largest of the last column first."""
    found = dict.fromkeys(name for column in columns for name in column)
    return sorted(found, key=lambda name: -columns[-1].get(name, 0.0))


def shown(results: Results) -> Iterator[RenderableType]:
    """The machine, then each table below its title; rich would break a title to the width of its table."""
    yield _machine(results.machine)
    for table in tables(results):
        yield Text(f"\n{table.title}", style="bold")
        table.title = None
        yield table
