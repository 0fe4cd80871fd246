"""Sets contenders the same work in turn: single provisionings, then a burst; round after round in one go.

Only one of them is there at a time, so none is measured beside the idle processes of another. The first one of a round
is another one each time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks import machine, usage
from benchmarks.contenders.lab import Lab
from benchmarks.contenders.team import Contender, Team
from benchmarks.figures import grown, summary
from benchmarks.memory import Sampler
from benchmarks.results import Burst, Side

WARM_UP = 3
"""Provisionings before anything is counted."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is done. Args: singles: one after the other, in each round. burst: at once; 0 leaves it out."""

    rounds: int
    singles: int
    burst: int


@dataclass(slots=True)
class _Seen:
    """What one contender has come to so far."""

    contender: Contender
    singles: list[list[float]] = field(default_factory=list[list[float]])
    rates: list[float] = field(default_factory=list[float])
    cpu: list[Mapping[str, float]] = field(default_factory=list[Mapping[str, float]])
    others: list[float] = field(default_factory=list[float])
    peak: Mapping[str, float] = field(default_factory=dict[str, float])


def measure(lab: Lab, contenders: Sequence[Contender], amount: Amount, tell: Tell) -> list[Side]:
    """All of them, in as many rounds.

    Raises: NotDone.
    """
    seen = [_Seen(contender) for contender in contenders]
    for number in range(amount.rounds):
        turn = number % len(seen)
        for one in seen[turn:] + seen[:turn]:
            tell(f"round {number + 1} of {amount.rounds}: {one.contender.name}")
            with one.contender.at_work(lab) as team:
                _round(one, team, amount, last=number == amount.rounds - 1)
    return [_side(one, amount) for one in seen]


def _round(seen: _Seen, team: Team, amount: Amount, *, last: bool) -> None:
    for _ in range(min(WARM_UP, amount.singles)):
        team.client.one()
    before, busy = usage.cpu(usage.snapshot(), team.roots), machine.busy()
    seen.singles.append([team.client.one() for _ in range(amount.singles)])
    if amount.burst:
        begin = usage.cpu(usage.snapshot(), team.roots)
        seconds = team.many(amount.burst)
        used = grown(begin, usage.cpu(usage.snapshot(), team.roots))
        seen.rates.append(amount.burst / seconds)
        seen.cpu.append({name: value / amount.burst for name, value in used.items()})
    ours = sum(grown(before, usage.cpu(usage.snapshot(), team.roots)).values())
    now = machine.busy()
    seen.others.append((now.cpu - busy.cpu - ours) / (now.at - busy.at))
    if amount.burst and last:
        seen.peak = _peak(team, amount.burst)


def _peak(team: Team, count: int) -> Mapping[str, float]:
    """The memory in a burst of its own: to look at it takes time from those who are looked at."""
    sampler = Sampler(team.roots)
    sampler.start()
    try:
        team.many(count)
    finally:
        sampler.stop()
    return max(sampler.samples, key=lambda sample: sum(sample.values()))


def _side(seen: _Seen, amount: Amount) -> Side:
    burst = None
    if amount.burst:
        names = dict.fromkeys(name for one in seen.cpu for name in one)
        cpu = {name: sum(one.get(name, 0.0) for one in seen.cpu) / len(seen.cpu) for name in names}
        burst = Burst(amount.burst, summary(seen.rates), cpu, dict(seen.peak))
    return Side(
        name=seen.contender.name,
        stored=seen.contender.stored,
        one=summary(value for values in seen.singles for value in values),
        by_round=[summary(values).median for values in seen.singles],
        burst=burst,
        others=max(seen.others),
    )
