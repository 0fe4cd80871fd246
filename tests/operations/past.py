"""A past for tests about retention: executions of tenants that live or are gone, and passes from far ahead."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.retention import Ages, Bounds
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.retirement import Retirement
from tenant_pipelines.operations.retention import EndedRun, Report
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tenant_pipelines.operations.sweep import sweep
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, all_of

DAY = 24 * 3600.0
AGES = Ages(dagster_runs=30 * DAY, executions=90 * DAY, personal_data=365 * DAY, archive=0, launches=7 * DAY)
NOTHING = Ages(dagster_runs=0, executions=0, personal_data=0, archive=0, launches=0)
OF_EXECUTION = ("runs", "steps", "attempts", "history", "signals", "left_behind", "owed")


@dataclass
class Later(SystemClock):
    """So many days from now. `ticks`: seconds that pass each time anybody asks."""

    days: float
    ticks: float = 0.0
    passed: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.days)

    def monotonic(self) -> float:
        self.passed += self.ticks
        return self.passed


@dataclass
class Runs:
    """Dagster's ended runs, oldest first."""

    there: list[EndedRun] = field(default_factory=list)
    deleted: list[UUID] = field(default_factory=list)
    stuck: set[UUID] = field(default_factory=set)

    def ended(self, *, before: datetime, after: UUID | None, limit: int) -> Sequence[EndedRun]:
        found = [run for run in self.there if run.ended_at < before]
        ids = [run.id for run in found]
        begin = ids.index(after) + 1 if after else 0  # as Dagster, which knows no place after a run that is gone
        return found[begin : begin + limit]

    def delete(self, run_id: UUID) -> None:
        if run_id in self.stuck:
            raise ConnectionError
        self.deleted.append(run_id)
        self.there = [run for run in self.there if run.id != run_id]


def passed(
    company: HeardCompany,
    days: float,
    *,
    ages: Ages = AGES,
    bounds: Bounds | None = None,
    runs: Runs | None = None,
    dry: bool = False,
) -> Report:
    """A pass, so many days from now."""
    ledger = Retirement(company.database, by=TESTER)
    return sweep(ledger, runs or Runs(), ages, bounds or Bounds(batch=3), Later(days), dry=dry)


def completed(company: HeardCompany, key: str) -> Execution:
    execution = company.provision(key, plan="free")
    signal(company.desk, execution.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    closed = company.execution(execution)
    assert closed.state is State.COMPLETED
    return closed


def failed(company: HeardCompany, systems: Systems, key: str, *, again: Execution | None = None) -> Execution:
    systems.fail("bucket", Answered("S3", f"no room for admin@{key}.example, nor for Ada Lovelace"), times=2)
    execution = start(company.desk, again.tenant_id, TESTER) if again else company.provision(key, plan="free")
    closed = company.settle(company.execution(execution))
    assert closed.state is State.FAILED
    return closed


def failed_twice_then_completed(company: HeardCompany, systems: Systems, key: str) -> list[Execution]:
    first = failed(company, systems, key)
    second = failed(company, systems, key, again=first)
    third = company.execution(start(company.desk, first.tenant_id, TESTER))
    signal(company.desk, first.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    return [company.execution(one) for one in (first, second, third)]


def is_gone(admin: psycopg.Connection, execution: Execution, *, since: float = 0) -> None:
    """The tenant is DEPROVISIONED, as an operator may write it. Args: since: days ago."""
    admin.execute("update tenant_management.tenants set status = 8 where id = %s", [execution.tenant_id])
    stamp = f"{datetime.now(UTC) - timedelta(days=since):%Y-%m-%dT%H:%M:%S}.000Z"
    admin.execute(
        "update tenant_management.tenants set metadata = metadata || %s where id = %s",
        [Jsonb({"lastStatusUpdate": stamp}), execution.tenant_id],
    )


def documents(admin: psycopg.Connection, executions: Sequence[Execution]) -> dict[UUID, Any]:
    """All that the ledger has of them."""
    query = "select e.id, engine.document_of(e) from engine.executions e where id = any(%s)"
    return {row[0]: row[1] for row in admin.execute(query, [[one.id for one in executions]])}


def archived(admin: psycopg.Connection, executions: Sequence[Execution]) -> dict[UUID, Any]:
    """As above, of the archive."""
    query = "select execution_id, document from engine.archive where execution_id = any(%s)"
    return {row[0]: row[1] for row in admin.execute(query, [[one.id for one in executions]])}


def rows_of(admin: psycopg.Connection, execution: Execution) -> dict[str, int]:
    """How many rows each table of the ledger has for it."""
    [counts] = all_of(
        admin,
        "select "
        + ", ".join(f"(select count(*) from engine.{table} where execution_id = %s)" for table in OF_EXECUTION),
        *[execution.id] * len(OF_EXECUTION),
    )
    return {table: int(str(count)) for table, count in zip(OF_EXECUTION, counts, strict=True) if count}


PERSON = ("Ada", "Lovelace", "ada.l@acme.example")


def with_people(admin: psycopg.Connection, execution: Execution) -> None:
    """A contact with a name, who has also sent something, and is spoken of."""
    admin.execute(
        "update tenant_management.contacts set first_name = %s, last_name = %s, email = %s where tenant_id = %s",
        [*PERSON, execution.tenant_id],
    )
    admin.execute(
        "update engine.executions set input = input || %s where id = %s",
        [
            Jsonb({"contacts": [{"firstName": "Ada", "phone": "0800-4711-00"}], "note": f"ask {PERSON[2]}"}),
            execution.id,
        ],
    )
    admin.execute(
        "insert into engine.signals (execution_id, name, dedupe_key, payload, received_by)"
        " values (%s, 'x', 'y', %s, 'ops@us.example')",
        [execution.id, Jsonb({"error": "Ada Lovelace did not answer"})],
    )


def everything_of(admin: psycopg.Connection, execution: Execution) -> str:
    """As text: ledger and archive."""
    return json.dumps([*documents(admin, [execution]).values(), *archived(admin, [execution]).values()])
