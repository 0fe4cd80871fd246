"""The list of steps of one workflow, from which everything else about it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tenant_pipelines.saga.step import Step


@dataclass(frozen=True)
class Catalogue:
    """A workflow: its type, the version of its list, and its steps in their order.

    Raises: ValueError when numbers do not run from 1, percentages go back, or there is not exactly one pivot.
    """

    workflow_type: str
    version: int
    steps: Sequence[Step]

    def __post_init__(self) -> None:
        numbers = [step.number for step in self.steps]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"{self.workflow_type}: steps are numbered {numbers}")
        percents = [step.percent for step in self.steps]
        if percents != sorted(percents):
            raise ValueError(f"{self.workflow_type}: progress would go back: {percents}")
        if sum(step.is_pivot for step in self.steps) != 1:
            raise ValueError(f"{self.workflow_type}: there must be exactly one pivot")

    @cached_property
    def pivot(self) -> Step:
        """The point of no return."""
        return next(step for step in self.steps if step.is_pivot)

    @cached_property
    def before_pivot(self) -> Sequence[Step]:
        """The steps that a failure undoes."""
        return [step for step in self.steps if step.number < self.pivot.number]

    @cached_property
    def last(self) -> Step:
        """The step that completes the workflow."""
        return self.steps[-1]

    def step(self, name: str) -> Step:
        """The step with that name.

        Raises: KeyError.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)
