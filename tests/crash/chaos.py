"""Fifty tenants, and what they are done to: who is killed, when, is drawn from a seed."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from dagster import DagsterInstance
from psycopg.rows import DictRow

from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs.gateway import DagsterRuns
from tests.crash.location import job
from tests.crash.machine import LEDGER, Machine, until
from tests.fakes.company import TESTER, Noted

KINDS = {
    "organization", "admin_user", "schema", "role", "bucket", "access", "workspace", "application", "records",
    "resources", "customer", "subscription", "mail", "webhook",
}  # fmt: skip
"""What a silo tenant has when it is ACTIVE, one of each."""
PATIENCE = 120.0
"""Seconds after the last blow within which everything has to be over."""


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that is done to the machine, after so many seconds."""

    after: float
    what: str


def blows(seed: int, many: int) -> list[Blow]:
    """Drawn from the seed; each kind comes at least once."""
    drawn = random.Random(seed)
    kinds = ["worker", "supervisor", "database"]
    whats = kinds + drawn.choices([*kinds, "worker", "stop"], k=max(many - len(kinds), 0))
    drawn.shuffle(whats)
    return [Blow(drawn.uniform(0.2, 1.2), what) for what in whats]


def start_tenants(machine: Machine, many: int, *, first: int = 0) -> list[UUID]:
    """Create and start them; answers their executions. Args: first: the number in the first one's key."""
    started: list[UUID] = []
    database = Database(machine.server.dsn(LEDGER), patience=30)
    try:
        with DagsterInstance.from_config(machine.environment["DAGSTER_HOME"]) as instance:
            desk = Desk(OperatorLedger(database), DagsterRuns(instance, job), PROVISIONING, Noted([]), SystemClock())
            for number in range(first, first + many):
                key = f"c{number:05d}"
                wanted = new_tenant(
                    key=key, name=key, admin_email=f"admin@{key}.example", plan_id="enterprise", plans=TIER_OF_PLAN
                )
                started.append(start(desk, tenants.create(desk, wanted, TESTER).id, TESTER).id)
    finally:
        database.close()
    return started


def strike(machine: Machine, blow: Blow, drawn: random.Random) -> None:
    """Do it, and have whatever a machine starts again by itself started again."""
    match blow.what:
        case "worker" | "stop":
            number = signal.SIGKILL if blow.what == "worker" else signal.SIGSTOP
            if busy := machine.working():
                try:
                    os.kill(drawn.choice(busy), number)
                except ProcessLookupError:
                    return  # it had ended in between
        case "supervisor":
            machine.kill_pool()
            machine.start_pool()
        case "database":
            machine.kill_database()
            machine.start_database()
        case _:
            raise ValueError(blow.what)


def storm(machine: Machine, seed: int, *, many: int, hits: int) -> None:
    """Start the tenants and the pool, strike, and wait for the end of every execution."""
    started = start_tenants(machine, many)
    machine.start_pool()
    until(lambda: bool(machine.working()), seconds=60, what=machine.said)
    drawn = random.Random(-seed)
    for blow in blows(seed, hits):
        time.sleep(blow.after)  # not a wait for anything: when the blow falls is part of what is tried
        strike(machine, blow, drawn)
    until(lambda: open_executions(machine) == [], seconds=PATIENCE, what=lambda: unfinished(machine))
    check(machine, started)


def open_executions(machine: Machine) -> list[DictRow]:
    """Those that are not closed yet."""
    return machine.ledger("""
        select e.id, e.state, e.step, e.message, e.run_id, e.wake_at, e.waiting_until, e.next_undo_at,
               l.state as launch, l.lease
          from engine.executions e left join engine.launches l on l.run_id = e.run_id
         where e.closed_at is null
    """)


def unfinished(machine: Machine) -> str:
    """What is known of those that are not closed, for whoever reads the failure."""
    rows = open_executions(machine)
    return "\n".join([f"{len(rows)} are not closed:", *map(str, rows[:10]), "the pool said:", machine.said()])


def check(machine: Machine, started: list[UUID]) -> None:
    """Every execution came to an end, and the outside systems hold exactly what that end means."""
    rows = machine.ledger("""
        select e.*, t.status from engine.executions e join tenant_management.tenants t on t.id = e.tenant_id
    """)
    assert sorted(row["id"] for row in rows) == sorted(started)
    for row in rows:
        there, beyond = _there(machine, row["tenant_key"]), _created_and_not_removed(machine, row["tenant_key"])
        assert there == beyond, f"{row['tenant_key']}: something was made twice"
        if row["state"] == "completed":
            assert (row["status"], there) == (Status.ACTIVE, Counter(KINDS)), row["tenant_key"]
        else:  # only what has lost three workers may fail
            assert row["error_code"] == "WorkerLost", row["error"]
            assert row["status"] == Status.ACTIVE or there == Counter(), row["tenant_key"]
    assert machine.ledger("select run_id, state from engine.launches where state <> 'ended'") == []


def _there(machine: Machine, tenant: str) -> Counter[str]:
    return _by_kind(machine.outside("select kind from things where tenant = %s", tenant))


def _created_and_not_removed(machine: Machine, tenant: str) -> Counter[str]:
    query = "select kind from effects where tenant = %s and action = %s"
    return _by_kind(machine.outside(query, tenant, "created")) - _by_kind(machine.outside(query, tenant, "removed"))


def _by_kind(rows: list[DictRow]) -> Counter[str]:
    return Counter(row["kind"].split(" ")[0] for row in rows)
