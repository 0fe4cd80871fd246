"""A step: one object with two sides, and everything that is said about it anywhere."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tenant_pipelines.domain.outcomes import ObjectRef, Pending, Removal
from tenant_pipelines.domain.ports import Look
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant, Tier
from tenant_pipelines.saga.outcomes import DoOutcome
from tenant_pipelines.saga.work import PARAMETERS, PARAMETERS_OF_A_LOOK, Looking, Work

DoSide = Callable[..., DoOutcome]
UndoSide = Callable[..., Sequence[Removal] | Pending]
Plan = Callable[[Tenant, Rules], Mapping[str, str]]
Traces = Callable[..., Sequence[ObjectRef]]
LookSide = Callable[..., Look]

Side = TypeVar("Side", bound=Callable[..., Any])

EVERY_TIER = frozenset(Tier)


@dataclass
class Step:
    """One step of a catalogue.

    A side names as its parameters what it wants to be given: see `saga.work.PARAMETERS`.

    Args:
        number: its place, from 1. name: the node's name and the status query's step.
        activity, undo_activity: the names in Temporal's history.
        percent: progress on entry, 0-100.
        retries: its retry group. symptom: the runbook's words for its failure.
        undo_symptom: the same for the failure of its undo side.
    """

    number: int
    name: str
    activity: str
    percent: int
    retries: Group
    symptom: str
    undo_activity: str | None = None
    undo_symptom: str | None = None
    tiers: frozenset[Tier] = EVERY_TIER
    is_pivot: bool = False
    owed_if_fails: bool = False
    _do: DoSide | None = field(default=None, repr=False)
    _undo: UndoSide | None = field(default=None, repr=False)
    _plan: Plan | None = field(default=None, repr=False)
    _find: Traces | None = field(default=None, repr=False)
    _traces: Traces | None = field(default=None, repr=False)
    _look: LookSide | None = field(default=None, repr=False)

    def do(self, side: DoSide) -> DoSide:
        """Decorates the do side."""
        self._do = _checked(self.name, side)
        return side

    def undo(self, side: UndoSide) -> UndoSide:
        """Decorates the undo side: removes what carries our mark, treats "gone" as done."""
        self._undo = _checked(self.name, side)
        return side

    def plan(self, plan: Plan) -> Plan:
        """Decorates the choice of names: recorded before the effect, and used by do and undo ever after."""
        self._plan = plan
        return plan

    def find(self, find: Traces) -> Traces:
        """Decorates the look-up of everything of this step's that carries the tenant's mark."""
        self._find = _checked(self.name, find)
        return find

    def traces(self, traces: Traces) -> Traces:
        """Decorates the list of what may be there, for when its system cannot even be asked."""
        self._traces = _checked(self.name, traces)
        return traces

    def look(self, look: LookSide) -> LookSide:
        """Decorates the look at what goes on outside while either side is parked: cheap, and writes nothing."""
        self._look = _checked(self.name, look, PARAMETERS_OF_A_LOOK)
        return look

    def only(self, *tiers: Tier) -> "Step":
        """The step, for these tiers; skipped for any other."""
        return replace(self, tiers=frozenset(tiers))

    def pivot(self) -> "Step":
        """The step, as the point of no return."""
        return replace(self, is_pivot=True)

    def owed_if_failed(self) -> "Step":
        """The step, as one that never fails the workflow: what it could not do is owed."""
        return replace(self, owed_if_fails=True)

    def for_tier(self, tier: Tier) -> bool:
        """Whether tenants of this tier have the step."""
        return tier in self.tiers

    @property
    def has_undo(self) -> bool:
        """Whether there is something to undo."""
        return self._undo is not None

    @property
    def has_look(self) -> bool:
        """Whether it can be asked from outside of a run if what it waits for still goes on."""
        return self._look is not None

    def names(self, tenant: Tenant, rules: Rules) -> Mapping[str, str]:
        """The names it would use for this tenant today."""
        return self._plan(tenant, rules) if self._plan else {}

    def run_do(self, work: Work) -> DoOutcome:
        """Call the do side."""
        if self._do is None:
            raise TypeError(f"step {self.name} has no do side")
        return self._do(**work.given_to(self._do))

    def run_undo(self, work: Work) -> Sequence[Removal] | Pending:
        """Call the undo side; nothing to do where there is none."""
        return self._undo(**work.given_to(self._undo)) if self._undo else ()

    def run_find(self, work: Work) -> Sequence[ObjectRef]:
        """Everything of this step's that is there now."""
        return self._find(**work.given_to(self._find)) if self._find else ()

    def possible(self, work: Work) -> Sequence[ObjectRef]:
        """What this step may have made, by name."""
        return self._traces(**work.given_to(self._traces)) if self._traces else ()

    def run_look(self, looking: Looking) -> Look:
        """Whether what it waits for still goes on; who cannot say lets it be seen to."""
        return self._look(**looking.given_to(self._look)) if self._look else Look.MOVED


def _checked(name: str, side: Side, parameters: frozenset[str] = PARAMETERS) -> Side:
    unknown = set(inspect.signature(side).parameters) - parameters
    if unknown:
        raise TypeError(f"step {name}: {side.__name__} asks for {', '.join(sorted(unknown))}, which no step is given")
    return side
