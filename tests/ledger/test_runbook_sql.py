"""The runbook's SQL, statement by statement as it is written there, given to psql as an operator would.

`TENANT_PIPELINES_TEST_RUNBOOK` may name the runbook's file: then the copies below are compared with it.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from sandbox.postgres import programs
from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tests.fakes.company import TESTER, Company
from tests.fakes.systems import Systems
from tests.operations.stage import all_of, audit, dump, new_key

ANSWERS = "SELECT 1"
FUNCTION_EXISTS = """
     SELECT routine_name FROM information_schema.routines
     WHERE routine_name = 'create_tenant_schema'
   """
SCHEMAS = """
     SELECT schema_name FROM information_schema.schemata
     WHERE schema_name LIKE 'tenant_%'
   """
DROP_ORPHAN = """
     DROP SCHEMA IF EXISTS tenant_{tenantKey} CASCADE
   """
LINK_CUSTOMER = """
   UPDATE tenant_management.tenants
   SET metadata = metadata || '{"stripeCustomerId": "cus_xxx"}'::jsonb
   WHERE id = '{tenantId}';
   """
CLEANED_UP = """
   UPDATE tenant_management.tenants
   SET status = 4, -- DEPROVISIONING
       metadata = metadata || '{"requiresManualCleanup": false}'::jsonb
   WHERE id = '{tenantId}';
   """
RESET = """
-- Reset to allow new provisioning attempt
UPDATE tenant_management.tenants
SET status = 1, -- PENDING_PROVISION
    modified_on = NOW(),
    metadata = metadata - 'provisioningError' - 'failedAt'
WHERE id = '{tenantId}';
"""
CONSISTENCY = """
-- Find tenants with mismatched status
SELECT t.id, t.key, t.status, t.metadata->>'lastStatusUpdate'
FROM tenant_management.tenants t
WHERE (t.status = 2 AND t.metadata->>'provisioningError' IS NOT NULL)  -- PROVISIONING but has error
   OR (t.status = 0 AND t.metadata->>'schemaName' IS NULL);  -- ACTIVE but no schema

-- Find orphan schemas (schema exists but tenant doesn't)
SELECT schema_name
FROM information_schema.schemata s
WHERE s.schema_name LIKE 'tenant_%'
  AND NOT EXISTS (
    SELECT 1 FROM tenant_management.tenants t
    WHERE t.key = REPLACE(s.schema_name, 'tenant_', '')
  );
"""
EVERYTHING = [
    ANSWERS,
    FUNCTION_EXISTS,
    SCHEMAS,
    DROP_ORPHAN,
    LINK_CUSTOMER,
    CLEANED_UP,
    RESET,
    CONSISTENCY,
]


class Refused(Exception):
    """What psql wrote to its standard error."""


@dataclass(frozen=True)
class Psql:
    """Runs one block of SQL, with the operator's placeholders filled in; answers its rows as psql prints them."""

    dsn: str

    def __call__(self, block: str, *, tenant_id: UUID | None = None, tenant_key: str = "") -> list[str]:
        text = block.replace("{tenantId}", str(tenant_id)).replace("{tenantKey}", tenant_key)
        command = [str(programs() / "psql"), self.dsn, "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-Atq"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout.split()


@pytest.fixture
def psql(shared_database: str) -> Psql:
    return Psql(shared_database)


def test_the_copies_are_the_runbooks() -> None:
    file = os.environ.get("TENANT_PIPELINES_TEST_RUNBOOK")
    if file is None:
        pytest.skip("TENANT_PIPELINES_TEST_RUNBOOK does not name the runbook's file")
    text = Path(file).read_text()
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL) + re.findall(r'psql [^"]*-c "(.*?)"', text, re.DOTALL)

    assert sorted(block.strip() for block in blocks) == sorted(block.strip() for block in EVERYTHING)


def test_the_look_ups_find_the_function_and_the_schemas(
    psql: Psql, company: Company, admin: psycopg.Connection, key: str
) -> None:
    company.create(key)
    admin.execute("select create_tenant_schema(%s)", (key,))

    assert psql(ANSWERS + ";") == ["1"]
    assert psql(FUNCTION_EXISTS + ";") == ["create_tenant_schema"]
    assert {"tenant_management", f"tenant_{key}"} <= set(psql(SCHEMAS + ";"))
    psql(DROP_ORPHAN + ";", tenant_key=key)
    assert f"tenant_{key}" not in psql(SCHEMAS + ";")


def test_a_healthy_system_is_consistent_at_every_moment_of_a_provisioning(
    psql: Psql, company: Company, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    company.create(key)
    admin.execute("select create_tenant_schema(%s)", (key,))
    seen: list[tuple[str, list[str]]] = []
    systems.before = lambda operation: seen.append((operation, psql(CONSISTENCY)))

    start(company.desk, company.tenant(key).id, TESTER)
    systems.before = lambda _: None

    seen.append(("afterwards", psql(CONSISTENCY)))
    assert len(seen) > 10
    assert [(moment, rows) for moment, rows in seen if rows] == []
    admin.execute(f"drop schema tenant_{key} cascade")


def test_the_consistency_queries_find_what_is_wrong(psql: Psql, admin: psycopg.Connection, key: str) -> None:
    admin.execute(
        "insert into tenant_management.tenants (key, name, tier, status) values (%s, 'A', 'pooled', 0)", (key,)
    )
    admin.execute("create schema tenant_nobody")

    assert key in str(psql(CONSISTENCY))
    assert "tenant_nobody" in psql(CONSISTENCY)

    admin.execute("delete from tenant_management.tenants where key = %s", (key,))
    admin.execute("drop schema tenant_nobody")


def test_a_failed_tenant_is_reset_and_provisioned_again(
    psql: Psql, company: Company, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    failed = company.settle(company.provision(key))
    before = company.tenant(key)

    psql(RESET, tenant_id=failed.tenant_id)

    reset = company.tenant(key)
    assert reset.status is Status.PENDING_PROVISION
    assert reset.metadata["lastStatusUpdate"] > before.metadata["lastStatusUpdate"]
    assert set(before.metadata) - set(reset.metadata) == {"provisioningError", "failedAt"}
    change = {"status": {"old": "PROVISION_FAILED", "new": "PENDING_PROVISION"}}
    assert audit(admin, failed.tenant_id)[-1] == ("postgres", "sql", "set_status", change)
    start(company.desk, failed.tenant_id, TESTER)
    assert company.tenant(key).status is Status.ACTIVE
    assert psql(CONSISTENCY) == []


@pytest.mark.parametrize("block", [RESET, CLEANED_UP])
def test_a_status_is_not_reset_under_a_running_workflow(
    psql: Psql, company: Company, admin: psycopg.Connection, key: str, block: str
) -> None:
    execution = company.provision(key)
    before = dump(admin)

    with pytest.raises(Refused) as refused:
        psql(block, tenant_id=execution.tenant_id)

    assert f"workflow {execution.workflow_id} runs" in str(refused.value)
    assert f"tenant-pipelines workflow signal {execution.workflow_id} provisioningCancelled" in str(refused.value)
    assert dump(admin) == before


def test_a_customer_is_linked_by_hand_whatever_runs(psql: Psql, company: Company, key: str) -> None:
    execution = company.provision(key)
    assert execution.state is State.FORWARD

    psql(LINK_CUSTOMER, tenant_id=execution.tenant_id)

    assert company.tenant(key).metadata["stripeCustomerId"] == "cus_xxx"


def test_the_operators_word_that_all_is_cleaned_up_is_kept_with_name_and_time(
    psql: Psql, company: Company, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    company.undo_retry_for = 0.01
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=9)
    systems.fail("remove bucket", Answered("S3", "said no"), times=999)
    failed = company.settle(company.provision(key))
    assert len(company.desk.ledger.left_behind(failed.tenant_id)) == 1

    psql(CLEANED_UP, tenant_id=failed.tenant_id)

    tenant = company.tenant(key)
    assert (tenant.status, tenant.metadata["requiresManualCleanup"]) == (Status.DEPROVISIONING, False)
    assert company.desk.ledger.left_behind(failed.tenant_id) == []
    kept = "select resolved_by, resolved_at <= now() from engine.left_behind where tenant_id = %s"
    assert all_of(admin, kept, failed.tenant_id) == [("postgres", True)]
    assert [row[:3] for row in audit(admin, failed.tenant_id)][-2:] == [
        ("postgres", "sql", "set_status"),
        ("postgres", "sql", "resolve_left_behind"),
    ]


def test_what_the_operator_called_gone_is_listed_again_where_it_is_not(
    company: Company, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    company.undo_retry_for = 0.01
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=99)
    systems.fail("remove bucket", Answered("S3", "said no"), times=999)
    failed = company.settle(company.provision(key))
    word = (
        "update tenant_management.tenants set metadata = metadata || '{\"requiresManualCleanup\": false}' where id = %s"
    )
    admin.execute(word.encode(), (failed.tenant_id,))
    assert company.desk.ledger.left_behind(failed.tenant_id) == []

    company.settle(start(company.desk, failed.tenant_id, TESTER))

    assert [thing.kind for thing in company.desk.ledger.left_behind(failed.tenant_id)] == ["bucket"]
    assert company.tenant(key).metadata["requiresManualCleanup"] is True


def test_no_healthy_tenant_shows_an_error_whatever_became_of_its_workflow(
    psql: Psql, company: Company, systems: Systems
) -> None:
    confirmed = company.provision(new_key())
    signal(company.desk, confirmed.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    company.provision(new_key())
    systems.fail("customer", Answered("Stripe", "said no"), times=2)
    company.settle(company.provision(new_key()))
    systems.fail("user", Answered("Keycloak", "said no"), times=2)
    company.settle(company.provision(new_key()))

    assert psql(CONSISTENCY) == []
