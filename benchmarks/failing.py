"""Lets a step fail for good, and measures how soon its execution is rolled back."""

import httpx
import psycopg

from benchmarks import timeline
from benchmarks.client import Client
from benchmarks.failures import NotDone
from benchmarks.figures import summaries
from benchmarks.home import Home
from benchmarks.results import Failing
from sandbox.stack.names import PRODUCT

SYSTEM = "kubernetes"
STEP = "deploying_application"
UNTIL = {
    "until the rollback is claimed": "RollbackStarted",
    "until the first undo": "CompensationStarted",
    "until the execution is closed": "WorkflowExecutionFailed",
}


def measure(home: Home, client: Client, *, rounds: int) -> Failing:
    """Several tenants, one after the other; step 7 is refused once (401), which is not tried again.

    Raises: NotDone when one does not end failed and rolled back.
    """
    return Failing(STEP, summaries([_fail(home, client) for _ in range(rounds)]))


def _fail(home: Home, client: Client) -> dict[str, float]:
    tenant = client.create("pooled")
    _set_faults(home, [{"operation": "*", "mode": "unauthorized", "times": 1, "tenant": tenant.key}])
    started = client.start(tenant)
    heard = client.heard([started.execution])[started.execution.id]
    _set_faults(home, [])
    with psycopg.connect(home.server.dsn(PRODUCT), autocommit=True) as connection:
        found = timeline.read(connection, started.execution.id)
    if found.state != "failed" or "CompensationStarted" not in found.events:
        raise NotDone(f"{started.execution.workflow_id} is {found.state}, it was to fail and be rolled back")
    failed = found.events["ActivityTaskFailed"]
    phases = {name: found.events[kind] - failed for name, kind in UNTIL.items()}
    return phases | {"until the client knows": heard - failed}


def _set_faults(home: Home, faults: list[dict[str, str | int]]) -> None:
    httpx.put(home.switch(SYSTEM), json=faults, timeout=10, trust_env=False).raise_for_status()
