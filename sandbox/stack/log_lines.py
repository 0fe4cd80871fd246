"""The last lines of a log that are about something."""

from collections import deque

from sandbox.stack.failure import StackFailure, UnknownPart
from sandbox.stack.folder import Folder
from sandbox.stack.programs import PARTS

WORKFLOWS = "worker.log"
"""The one stream of what all processes say about workflows."""


def last(folder: Folder, part: str, *, marker: str, workflow: str, count: int) -> list[str]:
    """The last lines.

    Args:
        part: a part of the stack; empty for the stream of all workflows.
        marker: what has to stand in brackets in a line (FLOW_FAIL), or empty.
        workflow: the workflow id that has to stand in a line, or empty.
        count: how many lines at most.

    Raises: StackFailure when there is no such part, or no log of it yet.
    """
    if part and part not in PARTS:
        raise UnknownPart(f"There is no part {part}. The parts are: {', '.join(PARTS)}.")
    names = [f"{program}.log" for program in PARTS[part]] if part and part != "worker" else [WORKFLOWS]
    wanted = [text for text in (f"[{marker.strip('[]')}]" if marker else "", workflow) if text]
    found: deque[str] = deque(maxlen=count)
    for name in names:
        file = folder.logs / name
        if not file.exists():
            raise StackFailure(f"There is no log yet: {file}")
        with file.open(errors="replace") as lines:
            found.extend(line.rstrip("\n") for line in lines if all(text in line for text in wanted))
    return list(found)
