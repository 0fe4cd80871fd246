"""With a ledger that has grown, no query of the running system reads a whole table of it."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tenant_pipelines.ledger.named_sql import all_queries

GROWN = """
insert into tenant_management.tenants (id, key, name, status, tier)
select gen_random_uuid(), 'k' || i, 'K', case when i % 3 = 0 then 8 else 0 end, 'pooled'
  from generate_series(1, 2000) i;
insert into tenant_management.contacts (tenant_id, email) select id, 'a@b' from tenant_management.tenants;
insert into tenant_management.subscriptions (tenant_id, plan_id) select id, 'p' from tenant_management.tenants;
insert into engine.executions (id, workflow_id, workflow_type, tenant_id, tenant_key, tier, generation,
                               catalogue_version, state, run_id, requested_by, started_at, updated_at, closed_at)
select gen_random_uuid(), 'provision-tenant-' || id, 'w', id, key, tier, g, 1,
       case when open then 'forward' else 'failed' end, gen_random_uuid(), 'me', at, at,
       case when not open then at + interval '1 minute' end
  from tenant_management.tenants t, generate_series(1, 2) g,
       lateral (select now() - random() * interval '2 years' as at, g = 2 and key like '%77' as open) x
 where key ~ '^k\\d';
insert into engine.runs (run_id, execution_id, kind, number) select run_id, id, 'forward', 1 from engine.executions;
insert into engine.steps (execution_id, side, step, number, state, run_id)
select id, 'do', 's' || n, n, 'done', run_id from engine.executions, generate_series(1, 4) n;
insert into engine.attempts (execution_id, side, step, number, run_id)
select id, 'do', 's' || n, 1, run_id from engine.executions, generate_series(1, 4) n;
insert into engine.history (execution_id, event_id, type)
select id, n, 'x' from engine.executions, generate_series(1, 8) n;
insert into engine.signals (execution_id, name, dedupe_key, payload, received_by) select id, 'x', 'y', '{}', 'z'
  from engine.executions;
insert into engine.left_behind (tenant_id, system, kind, object_id, name, step, reason, execution_id, resolved_at)
select tenant_id, 's', 'k', id::text, 'n', 's1', 'r', id, now() from engine.executions where random() < 0.5;
insert into engine.owed (tenant_id, step, execution_id, settled_at) select tenant_id, 's1', id, now()
  from engine.executions;
insert into engine.launches (run_id, job, state, ended_at)
select gen_random_uuid(), 'j', 'ended', now() - random() * interval '7 days' from generate_series(1, 20000);
insert into engine.launches (run_id, job) select gen_random_uuid(), 'j' from generate_series(1, 10);
insert into engine.archive (execution_id, workflow_id, workflow_type, tenant_id, tenant_key, generation, state,
                            started_at, closed_at, whole, redacted_at, document)
select gen_random_uuid(), e.workflow_id, 'w', tenant_id, tenant_key, 1, state, started_at, closed_at, true,
       case when random() < 0.9 then now() end, engine.document_of(e)
  from engine.executions e where closed_at is not null;
analyze;
"""

TABLES = "executions|runs|steps|attempts|history|signals|left_behind|owed|launches|archive|tenants|contacts"
WHOLE = {
    "list_tenants": {"tenants"},  # somebody wants to see them all
}
"""What may be read as a whole, and by which queries."""


@pytest.fixture(scope="module")
def grown(shared_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_database) as connection:
        connection.execute(GROWN.encode())
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def values(grown: psycopg.Connection) -> Mapping[str, Any]:
    """What is bound, by the parameter's name; one of which there are many, in the middle."""
    row = grown.execute(
        "select id, tenant_id, run_id, workflow_id from engine.executions limit 1 offset 2000"
    ).fetchone()
    assert row is not None
    execution, tenant, run, workflow = row
    ago = datetime.now(UTC) - timedelta(days=400)
    return {
        "id": execution,
        "execution_id": execution,
        "resumed_id": execution,
        "tenant_id": tenant,
        "run_id": run,
        "lost_run_id": run,
        "workflow_id": workflow,
        "ids": [execution],
        "run_ids": [run],
        "step": "s1",
        "steps": ["s1"],
        "side": "do",
        "number": 1,
        "before": ago,
        "before_text": ago.isoformat(),
        "after_at": datetime(2000, 1, 1, tzinfo=UTC),
        "after_id": UUID(int=0),
        "limit": 50,
        "offset": 0,
        "quiet": 3,
        "state": "taken",
        "states": None,
        "version": "1",
        "format": 1,
        "pool": uuid4(),
        "pid": 1,
        "started": 1.0,
        "documents": Jsonb([{"execution": {"id": str(execution)}, "steps": [], "attempts": [], "history": []}]),
        "planned": False,
        "hidden": "x",
        "key": "k100",
        "status": None,
        "name": "x",
        "message": "x",
    }


@pytest.mark.parametrize("name", sorted(all_queries()))
def test_a_query_reads_no_whole_table(grown: psycopg.Connection, values: Mapping[str, Any], name: str) -> None:
    query = all_queries()[name]
    bound = {parameter: values.get(parameter) for parameter in re.findall(r"%\((\w+)\)s", query)}

    with psycopg.ClientCursor(grown) as cursor, grown.transaction(force_rollback=True):
        cursor.execute(f"explain (format json) {query}".encode(), bound)
        explained: Any = cursor.fetchone()
        [[plan]] = explained

    read = {node["Relation Name"] for node in _nodes(plan["Plan"]) if node["Node Type"] == "Seq Scan"}
    assert {table for table in read if re.fullmatch(TABLES, table)} - WHOLE.get(name, set()) == set(), json.dumps(plan)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def test_every_reference_to_an_execution_can_be_looked_up_when_the_execution_goes(grown: psycopg.Connection) -> None:
    without = grown.execute(
        "select conrelid::regclass::text from pg_constraint c where contype = 'f'"
        " and confrelid = 'engine.executions'::regclass and not exists ("
        "   select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1] and i.indpred is null)"
    ).fetchall()

    assert without == []
