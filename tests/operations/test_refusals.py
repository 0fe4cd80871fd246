"""An operation that is refused says why and what would be allowed, and changes nothing."""

from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import MANAGEMENT, PLATFORM, PROVISION_FROM, Status
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.runs import Launch, NotLaunched
from tenant_pipelines.operations.start import start
from tests.fakes.company import TESTER
from tests.operations.stage import HeardCompany, audit, dump, new_key


def create(company: HeardCompany, key: str, *domains: str) -> None:
    wanted = new_tenant(
        key=key,
        name="A",
        admin_email="a@b.example",
        plan_id="free",
        domains=domains or None,
        plans=TIER_OF_PLAN,
    )
    tenants.create(company.desk, wanted, TESTER)


def test_a_key_that_is_taken(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    create(company, key)
    before = dump(admin)

    with pytest.raises(Refused, match=f"The key '{key}' is taken by another tenant") as refused:
        create(company, key, "elsewhere.example")

    assert refused.value.code is Code.KEY_TAKEN
    assert dump(admin) == before


def test_a_domain_that_is_taken(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    create(company, key, f"shop.{key}.example")
    before = dump(admin)

    with pytest.raises(Refused, match="belongs to another tenant") as refused:
        create(company, new_key(), f"www.{key}.example", f"SHOP.{key}.example")

    assert refused.value.code is Code.DOMAIN_TAKEN
    assert f"'{key}'" not in refused.value.message
    assert dump(admin) == before


def test_a_key_is_free_again_after_its_tenant_is_gone(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    create(company, key)
    gone = company.tenant(key)
    admin.execute("update tenant_management.tenants set status = 8 where id = %s", (gone.id,))

    create(company, key)

    assert company.tenant(key).id != gone.id
    assert tenants.show(company.desk, str(gone.id)).status is Status.DEPROVISIONED


@pytest.mark.parametrize("tenant_id", [PLATFORM, MANAGEMENT])
def test_the_reserved_tenants(company: HeardCompany, admin: psycopg.Connection, tenant_id: object) -> None:
    before = dump(admin)

    with pytest.raises(Refused) as refused:
        start(company.desk, PLATFORM if tenant_id == PLATFORM else MANAGEMENT, TESTER)

    assert refused.value.code is Code.RESERVED
    assert dump(admin) == before


def test_a_reserved_key_that_came_in_by_sql(company: HeardCompany, admin: psycopg.Connection) -> None:
    admin.execute("insert into tenant_management.tenants (key, name, tier) values ('public', 'A', 'pooled')")
    tenant, before = company.tenant("public"), dump(admin)

    with pytest.raises(Refused) as refused:
        start(company.desk, tenant.id, TESTER)

    assert refused.value.code is Code.RESERVED
    assert dump(admin) == before


@pytest.mark.parametrize("who", ["nobody", "Not-A-Key", "x" * 9999, "a\0b", "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11"])
def test_an_unknown_tenant(company: HeardCompany, who: str) -> None:
    with pytest.raises(Refused, match="There is no tenant") as refused:
        tenants.show(company.desk, who)

    assert refused.value.code is Code.NOT_FOUND
    assert len(refused.value.message) < 200


def test_the_start_of_an_unknown_tenant(company: HeardCompany, admin: psycopg.Connection) -> None:
    before = dump(admin)

    with pytest.raises(Refused) as refused:
        start(company.desk, uuid4(), TESTER)

    assert refused.value.code is Code.NOT_FOUND
    assert dump(admin) == before


@pytest.mark.parametrize("workflow", ["provision-tenant-nobody", "x" * 9999, "a\0b"])
def test_an_unknown_workflow(company: HeardCompany, workflow: str) -> None:
    with pytest.raises(Refused, match="There is no workflow") as refused:
        company.desk.ledger.execution(workflow)

    assert refused.value.code is Code.NOT_FOUND
    assert len(refused.value.message) < 200


def test_a_wrong_state_is_named_with_those_that_would_do(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    create(company, key)
    tenant = company.tenant(key)
    company.runs.lost_launches = 99
    for status in Status:
        admin.execute("delete from engine.runs")
        admin.execute("delete from engine.history")
        admin.execute("delete from engine.executions")
        admin.execute("update tenant_management.tenants set status = %s where id = %s", (status.value, tenant.id))
        before = dump(admin)
        if status in PROVISION_FROM:
            assert start(company.desk, tenant.id, TESTER).tenant_key == key
            continue
        with pytest.raises(Refused) as refused:
            start(company.desk, tenant.id, TESTER)
        assert refused.value.code is Code.WRONG_STATE
        assert f"Tenant {key} is {status.name} and cannot be provisioned" in refused.value.message
        assert all(allowed.name in refused.value.message for allowed in PROVISION_FROM)
        assert dump(admin) == before


def test_a_launch_that_dagster_does_not_take_is_left_to_the_guard(
    company: HeardCompany, admin: psycopg.Connection, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(company, key)

    def away(launch: Launch) -> None:
        raise NotLaunched(f"run {launch.run_id}: OperationalError")

    monkeypatch.setattr(company.runs, "launch", away)
    execution = start(company.desk, company.tenant(key).id, TESTER)
    monkeypatch.undo()

    assert "not launched yet" in company.heard[-1].text
    assert [row[2] for row in audit(admin, execution.tenant_id)] == ["create_tenant", "start"]
    assert company.settle(execution).waiting_until is not None


@pytest.fixture
def away(company: HeardCompany) -> OperatorLedger:
    """A ledger whose database is not there."""
    database = Database("postgresql://control_plane:fake-secret@127.0.0.1:1/arc_saas", patience=0.3)
    return OperatorLedger(database)


def test_the_database_is_away(away: OperatorLedger) -> None:
    try:
        for operation in (
            away.ping,
            lambda: away.tenant(uuid4()),
            lambda: away.execution("provision-tenant-x"),
            lambda: away.claim_provision(uuid4(), version=1, claimant=TESTER, given={}),
        ):
            with pytest.raises(Refused) as refused:
                operation()
            assert refused.value.code is Code.UNAVAILABLE
            assert "127.0.0.1" not in refused.value.message
            assert "fake-secret" not in refused.value.message
    finally:
        away.database.close()


def test_a_full_queue_is_refused_with_the_time_to_come_back(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    tenant = company.create(key)
    desk = replace(company.desk, queue_limit=2)
    for _ in range(2):
        Launches(company.database).add(uuid4(), "provision_tenant")
    before = dump(admin)

    with pytest.raises(Refused, match=r"As many runs wait for a worker as may .2.*Try again in \d+ s") as refused:
        start(desk, tenant.id, TESTER)

    assert refused.value.code is Code.UNAVAILABLE
    assert dump(admin) == before
    admin.execute("truncate engine.launches")
