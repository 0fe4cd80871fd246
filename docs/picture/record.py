"""Records real runs for the picture: `python -m docs.picture.record KEY...`, while a stack runs.

Takes the newest execution of each tenant from the ledger and writes `docs/picture/run.json`; `make docs` draws it.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docs.picture.lanes import Event, Recording
from tenant_pipelines.cli import door
from tenant_pipelines.domain.workflow import provision_workflow_id
from tenant_pipelines.operations.operations import Desk

FILE = Path(__file__).parent / "run.json"
HEAD = ("tenant", "tier", "word", "left")


def recording(desk: Desk, key: str) -> dict[str, Any]:
    """The newest execution of the tenant with that key."""
    execution = desk.ledger.execution(provision_workflow_id(desk.ledger.tenant_id_of_key(key)))
    history = desk.ledger.history(execution.id)
    began = history[0]["at"]
    events = [[round((row["at"] - began).total_seconds(), 3), row["type"], row["step"]] for row in history]
    left = len((execution.result or {}).get("leftBehind", ()))
    head = {"tenant": key, "tier": execution.tier.value, "word": execution.state.word, "left": left}
    return {**head, "events": events}


def read(file: Path = FILE) -> list[Recording]:
    """What was recorded."""
    return [
        Recording(one["tenant"], one["tier"], one["word"], one["left"], [Event(*event) for event in one["events"]])
        for one in json.loads(file.read_text())
    ]


def write(recordings: Sequence[dict[str, Any]], file: Path = FILE) -> None:
    """One event a line, so that a change can be read."""
    parts = []
    for one in recordings:
        events = ",\n   ".join(json.dumps(event) for event in one["events"])
        head = ", ".join(f"{json.dumps(name)}: {json.dumps(one[name])}" for name in HEAD)
        parts.append(f' {{{head}, "events": [\n   {events}\n ]}}')
    file.write_text("[\n" + ",\n".join(parts) + "\n]\n")


def main(keys: Sequence[str]) -> None:
    """Record the tenants with these keys, in this order."""
    with door.reading() as desk:
        write([recording(desk, key) for key in keys])


if __name__ == "__main__":
    main(sys.argv[1:])
