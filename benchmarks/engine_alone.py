"""The saga engine on a real ledger of its own, without Dagster and with adapters that do nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks import databases, timeline
from benchmarks.client import BENCHMARK, Silent
from benchmarks.failures import NotDone
from benchmarks.figures import summary
from benchmarks.home import Home
from benchmarks.idle_world import idle_world
from benchmarks.results import Alone
from benchmarks.timeline import StepTime
from sandbox.postgres import Server
from tenant_pipelines.domain.retries import RETRIES
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger import migrate
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import NewRow, OperatorLedger
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.operations.signal import CONFIRMED
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.engine import Engine

LEDGER = "benchmark"
"""The database, made for this and dropped afterwards."""

PROXIED, DIRECT = "through the stack's proxy, as the product does there", "directly"


@dataclass(frozen=True, slots=True)
class _Round:
    seconds: float
    steps: list[StepTime]


def measure(home: Home, *, rounds: int) -> list[Alone]:
    """Both ways to the database."""
    proxied = Server(home.server.host, home.ports["postgres"], home.server.password)
    with _fresh_ledger(home.server):
        return [_measure(home, server, way, rounds) for way, server in ((PROXIED, proxied), (DIRECT, home.server))]


def _measure(home: Home, server: Server, way: str, rounds: int) -> Alone:
    database = Database(server.dsn(LEDGER))
    try:
        _provision(database, server)  # the first one opens the connection
        done = [_provision(database, server) for _ in range(rounds)]
        statements = _statements(home, database) if home.own else None
    finally:
        database.close()
    return Alone(way, summary(one.seconds for one in done), timeline.over_all([one.steps for one in done]), statements)


def _provision(database: Database, server: Server) -> _Round:
    execution = _claimed(database)
    began = time.perf_counter()
    _take_steps(database, execution)
    seconds = time.perf_counter() - began
    OperatorLedger(database).receive_signal(
        execution.workflow_id,
        name=CONFIRMED,
        step=PROVISIONING.last.name,
        payload={"success": True},
        key=execution.tenant_key,
        claimant=BENCHMARK,
    )
    with psycopg.connect(server.dsn(LEDGER), autocommit=True) as connection:
        found = timeline.read(connection, execution.id)
    if found.state != "completed":
        raise NotDone(f"the engine alone came to {found.state}: {found.error}")
    return _Round(seconds, list(found.steps))


def _claimed(database: Database) -> Execution:
    ledger = OperatorLedger(database)
    key = f"b{uuid4().hex[:12]}"
    row = NewRow(key, key, "silo", (f"{key}.localhost",), "", "", f"admin@{key}.example", "enterprise")
    tenant = ledger.create_tenant(row, BENCHMARK)
    return ledger.claim_provision(tenant.id, version=PROVISIONING.version, claimant=BENCHMARK, given={})


def _take_steps(database: Database, execution: Execution) -> None:
    ledger = RunLedger(database, PROVISIONING, execution.id, execution.tenant_id, BENCHMARK, Silent(), 120)
    engine = Engine(ledger, idle_world(), RETRIES, undo_retry_every=300, undo_retry_for=3600)
    for step in PROVISIONING.steps:
        engine.forward(step, lambda _: None)


def _statements(home: Home, database: Database) -> float:
    execution = _claimed(database)
    with databases.statements_logged(home) as counted:
        _take_steps(database, execution)
        return counted().get(LEDGER, 0.0)


@contextmanager
def _fresh_ledger(server: Server) -> Iterator[None]:
    name = sql.Identifier(LEDGER)
    drop = sql.SQL("drop database if exists {} with (force)").format(name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(drop)
        admin.execute(sql.SQL("create database {}").format(name))
        try:
            migrate.upgrade(server.dsn(LEDGER))
            yield
        finally:
            admin.execute(drop)
