"""Steps that go wrong in the test's own code, around the product's: before their effect, or after it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.saga.catalogue import Catalogue
from tenant_pipelines.saga.step import Step

Happening = Callable[[], None]


def nothing() -> None:
    """Goes on as if nobody had looked."""


def put(catalogue: Catalogue, *steps: Step) -> Catalogue:
    """The catalogue with these steps in the place of those of the same names."""
    new: Mapping[str, Step] = {step.name: step for step in steps}
    return replace(catalogue, steps=[new.get(step.name, step) for step in catalogue.steps])


def do_with(step: Step, *, before: Happening = nothing, after: Happening = nothing) -> Step:
    """The step with something that happens before each call of its do side, and after each that has the effect."""
    return replace(step, _do=_around(step._do, before, after))


def undo_with(step: Step, *, before: Happening = nothing, after: Happening = nothing) -> Step:
    """The same for its undo side."""
    return replace(step, _undo=_around(step._undo, before, after))


def once(happening: Happening) -> Happening:
    """Happens at the first call only."""
    left = [happening]

    def happen() -> None:
        if left:
            left.pop()()

    return happen


def raising(make: Callable[[], BaseException]) -> Happening:
    """Raises a fresh one each time."""

    def happen() -> None:
        raise make()

    return happen


def in_turn(happenings: Sequence[Happening]) -> Happening:
    """One after the other, and then nothing."""
    left = list(happenings)

    def happen() -> None:
        if left:
            left.pop(0)()

    return happen


def _around(side: Callable[..., Any] | None, before: Happening, after: Happening) -> Callable[..., Any]:
    assert side is not None

    @wraps(side)
    def act(**given: Any) -> Any:
        before()
        outcome = side(**given)
        if not isinstance(outcome, Pending):
            after()
        return outcome

    return act
