"""What a real provisioning takes beyond the outside systems' own time.

The outside time of an execution is the sum of three: calls (inside the adapters), waits (an adapter has said "it goes
on", until the next look at the same thing: a Terraform run, a rollout) and the app plane's confirmation. A wait ends
with our look, so what we look too late counts as outside; the rest of the execution is ours, imports included.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from benchmarks import timeline
from benchmarks.client import Client
from benchmarks.failures import NotDone
from benchmarks.figures import summary
from benchmarks.home import Home
from benchmarks.results import Overhead
from sandbox.stack.names import PRODUCT

WEBHOOK = "notify"


@dataclass(frozen=True, slots=True)
class Called:
    """One call of an adapter, in Unix seconds."""

    key: str
    operation: str
    began: float
    ended: float
    pending: bool


@dataclass(frozen=True, slots=True)
class Shares:
    """One execution, in seconds; see the head of this file."""

    total: float
    calls: float
    waits: float
    confirmation: float

    @property
    def outside(self) -> float:
        """Not ours."""
        return self.calls + self.waits + self.confirmation

    @property
    def ours(self) -> float:
        """The rest."""
        return self.total - self.outside


def measure(home: Home, client: Client, file: Path, *, tier: str, rounds: int) -> Overhead:
    """Several tenants of a tier, one after the other; the stack runs `timed_definitions` with that file.

    Raises: NotDone.
    """
    done = [_one(home, client, file, tier) for _ in range(rounds)]
    return Overhead(
        tier=tier,
        total=summary(one.total for one in done),
        calls=summary(one.calls for one in done),
        waits=summary(one.waits for one in done),
        confirmation=summary(one.confirmation for one in done),
        ours=summary(one.ours for one in done),
        share=summary(one.ours / one.outside for one in done),
    )


def _one(home: Home, client: Client, file: Path, tier: str) -> Shares:
    tenant = client.create(tier)
    started = client.start(tenant)
    heard = client.heard([started.execution])[started.execution.id]
    with psycopg.connect(home.server.dsn(PRODUCT), autocommit=True) as connection:
        found = timeline.read(connection, started.execution.id)
    if found.state != "completed":
        raise NotDone(f"{started.execution.workflow_id} is {found.state}: {found.error}")
    signal = found.events["WorkflowExecutionSignaled"]
    return shares(calls_of(file.read_text().splitlines(), tenant.id), heard - started.called, signal)


def calls_of(lines: Iterable[str], tenant_id: UUID) -> list[Called]:
    """The calls made for a tenant: their idempotency keys begin with its id."""
    found = (_called(json.loads(line)) for line in lines)
    return [one for one in found if one.key.startswith(str(tenant_id))]


def _called(line: Mapping[str, Any]) -> Called:
    return Called(line["key"], line["operation"], line["began"], line["ended"], line["pending"])


def shares(calls: Sequence[Called], total: float, signal: float) -> Shares:
    """The parts of one execution.

    Args: total: seconds from the client's call to its knowledge. signal: when the app plane's signal was recorded.
    Raises: NotDone when the webhook is not among the calls.
    """
    told = [one.ended for one in calls if one.operation == WEBHOOK]
    if not told:
        raise NotDone("the calls of the adapters were not recorded")
    inside = sum(one.ended - one.began for one in calls)
    return Shares(total, inside, _waits(calls), max(signal - told[-1], 0.0))


def _waits(calls: Sequence[Called]) -> float:
    """From each "it goes on" to the next call of the same operation under the same key."""
    waiting: dict[tuple[str, str], float] = {}
    seconds = 0.0
    for one in sorted(calls, key=lambda call: call.began):
        since = waiting.pop((one.key, one.operation), None)
        if since is not None:
            seconds += one.began - since
        if one.pending:
            waiting[one.key, one.operation] = one.ended
    return seconds
