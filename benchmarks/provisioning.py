"""Provisions tenants of one tier, one after the other: where the time goes, and what a run costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from benchmarks import databases, timeline, watch
from benchmarks.client import Client, Started
from benchmarks.failures import NotDone
from benchmarks.figures import summaries, summary
from benchmarks.home import Home
from benchmarks.results import Idle, Provisioning
from benchmarks.timeline import StepTime, Timeline
from benchmarks.usage import Roots
from sandbox.stack.names import PRODUCT

LAUNCH = "until its run is handed over"
QUEUE = "until a worker has it"
READY = "until step 1"
STEPS = "the 14 steps"
APP_PLANE = "the app plane's confirmation"
NOTICE = "the notice to the client"


@dataclass(frozen=True, slots=True)
class Round:
    """One tenant. Args: total: seconds from the client's call until it knew of the end."""

    total: float
    phases: dict[str, float]
    steps: Sequence[StepTime]


def measure(home: Home, client: Client, begin: Roots, idle: Idle, *, tier: str, rounds: int) -> Provisioning:
    """Several tenants, one after the other.

    Raises: NotDone when one is not provisioned.
    """
    before = watch.look(home, begin)
    done: list[Round] = []
    for _ in range(rounds):
        done.append(provision(home, client, tier))
        watch.settle(begin)
    after = watch.look(home, begin)
    return Provisioning(
        tier=tier,
        total=summary(one.total for one in done),
        phases=summaries([one.phases for one in done]),
        steps=timeline.over_all([one.steps for one in done]),
        usage=watch.usage_between(before, after, runs=rounds, idle=idle),
        statements=_statements(home, client, begin, tier) if home.own else None,
    )


def provision(home: Home, client: Client, tier: str) -> Round:
    """One tenant.

    Raises: NotDone.
    """
    started = client.start(client.create(tier))
    heard = client.heard([started.execution])[started.execution.id]
    with psycopg.connect(home.server.dsn(PRODUCT), autocommit=True) as connection:
        found = timeline.read(connection, started.execution.id)
    if found.state != "completed":
        raise NotDone(f"{started.execution.workflow_id} is {found.state}: {found.error}")
    return Round(heard - started.called, _phases(started, found, heard), found.steps)


def _phases(started: Started, found: Timeline, heard: float) -> dict[str, float]:
    """One after the other; a worker may begin before the client's call has returned."""
    begin, phases = started.called, dict[str, float]()
    for name, moment in ((LAUNCH, found.queued), (QUEUE, found.taken)):
        if moment is not None:
            phases[name], begin = moment - begin, moment
    return phases | {
        READY: found.first_step - begin,
        STEPS: found.last_step_done - found.first_step,
        APP_PLANE: found.closed - found.last_step_done,
        NOTICE: heard - found.closed,
    }


def _statements(home: Home, client: Client, begin: Roots, tier: str) -> dict[str, float]:
    """In a round of its own, since writing the log takes time."""
    with databases.statements_logged(home) as counted:
        provision(home, client, tier)
        watch.settle(begin)
        return counted()
