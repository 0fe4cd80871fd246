"""From an execution's history to what is drawn: a lane with a bar for each attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

DO = "ActivityTask"
UNDO = "Compensation"
BEGUN = "Started"


class Look(StrEnum):
    """What a bar stands for; its fill in the picture."""

    DONE = "done"
    PIVOT = "pivot"
    FAILED = "failed"
    WAITING = "waiting"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a history. `at`: seconds since the execution was asked for."""

    at: float
    type: str
    step: str | None


@dataclass(frozen=True, slots=True)
class Recording:
    """One execution as it was recorded.

    Args:
        word: its status word, as in `workflow list`.
        left: how many things its rollback had to leave behind.
    """

    tenant: str
    tier: str
    word: str
    left: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt, from `begin` to `end` in seconds since the lane's first bar."""

    step: str
    look: Look
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One tenant's execution.

    Args:
        steps: in the order in which they were first taken; each has a row.
        seconds: from the first step's begin until the execution was closed.
    """

    tenant: str
    tier: str
    word: str
    left: int
    steps: Sequence[str]
    bars: Sequence[Bar]
    seconds: float

    @property
    def undone(self) -> Sequence[Bar]:
        """The bars of the rollback."""
        return [bar for bar in self.bars if bar.look is Look.UNDONE]


def lane_of(recording: Recording, pivot: str) -> Lane:
    """The lane of one execution.

    Args: pivot: the name of the step that is the point of no return.
    """
    first = next(event.at for event in recording.events if event.type == DO + BEGUN)
    bars: list[Bar] = []
    begun: dict[tuple[str, str], float] = {}
    for event in recording.events:
        side, step, at = event.type.removesuffix(BEGUN), event.step, event.at - first
        if step is not None and event.type in {DO + BEGUN, UNDO + BEGUN}:
            begun[side, step] = at
        elif step is not None and (ended := _ended(event.type)) is not None:
            side, look = ended
            look = Look.PIVOT if look is Look.DONE and step == pivot else look
            bars.append(Bar(step, look, begun.pop((side, step)), at))
        elif event.type == "WorkflowExecutionCompleted":
            bars.append(Bar(bars[-1].step, Look.WAITING, bars[-1].end, at))
    return Lane(
        recording.tenant,
        recording.tier,
        recording.word,
        recording.left,
        list(dict.fromkeys(bar.step for bar in bars)),
        bars,
        seconds=recording.events[-1].at - first,
    )


def _ended(kind: str) -> tuple[str, Look] | None:
    """The side and the look of the bar that this kind of event ends, or None."""
    looks = {
        f"{DO}Completed": (DO, Look.DONE),
        f"{DO}Failed": (DO, Look.FAILED),
        f"{UNDO}Completed": (UNDO, Look.UNDONE),
        f"{UNDO}Failed": (UNDO, Look.FAILED),
    }
    return looks.get(kind)
