"""The table of steps, made from the catalogue."""

from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.step import Step

HEAD = """\
| # | step | activity | % | tiers | retries | undone by | its failure says |
|---|---|---|---|---|---|---|---|
"""


def table(catalogue: Catalogue) -> str:
    """A row for each step, as Markdown."""
    return HEAD + "".join(_row(catalogue, step) for step in catalogue.steps)


def _row(catalogue: Catalogue, step: Step) -> str:
    tiers = ", ".join(tier for tier in Tier if step.for_tier(tier)) if step.tiers != frozenset(Tier) else "all"
    cells = (step.number, step.name, step.activity, step.percent, tiers, step.retries, _undo(catalogue, step))
    return f"| {' | '.join(map(str, cells))} | {step.symptom} |\n"


def _undo(catalogue: Catalogue, step: Step) -> str:
    if step.is_pivot:
        return "**the point of no return**"
    if step.number < catalogue.pivot.number:
        return step.undo_activity or "–"
    return "never; owed if it fails" if step.owed_if_fails else "never; resumed"
