"""The rules that the database holds, whoever writes."""

import threading
from itertools import product
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.domain.tenant import MANAGEMENT, PLATFORM, TRANSITIONS, Status, may_change
from tests.fakes.company import Company
from tests.operations.stage import all_of, audit, dump, new_key


def insert(admin: psycopg.Connection, key: str, *domains: str, status: Status = Status.PENDING_PROVISION) -> UUID:
    row = admin.execute(
        "insert into tenant_management.tenants (key, name, tier, domains, status)"
        " values (%s, 'A', 'pooled', %s, %s) returning id",
        (key, list(domains), status.value),
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def set_status(admin: psycopg.Connection, tenant_id: UUID, status: Status) -> None:
    admin.execute("update tenant_management.tenants set status = %s where id = %s", (status.value, tenant_id))


@pytest.mark.parametrize("acting", ["on", "off"])
def test_the_engine_is_held_to_the_table_of_transitions_and_an_operator_is_not(
    admin: psycopg.Connection, acting: str
) -> None:
    tenant_id = insert(admin, new_key())
    allowed = set()
    said: list[bool] = []
    for old, new in product(Status, Status):
        admin.execute("select set_config('engine.acting', 'off', false)")
        set_status(admin, tenant_id, old)
        admin.execute("select set_config('engine.acting', %s, false)", (acting,))
        try:
            set_status(admin, tenant_id, new)
        except psycopg.errors.CheckViolation as refused:
            said.append(f"from {old.name} to {new.name}" in str(refused))
        else:
            allowed.add((old, new))

    everything = set(product(Status, Status))
    in_the_domain = {(old, new) for old, new in everything if may_change(old, new)}
    assert allowed == (in_the_domain if acting == "on" else everything)
    assert all(said)


def test_the_function_and_the_domain_know_the_same_transitions(admin: psycopg.Connection) -> None:
    for old, new in product(Status, Status):
        row = admin.execute("select engine.may_change(%s::smallint, %s::smallint)", (old.value, new.value)).fetchone()
        assert row == (old == new or new in TRANSITIONS[old],), (old, new)


def test_the_database_calls_every_status_as_the_domain_does(admin: psycopg.Connection) -> None:
    for status in Status:
        assert admin.execute("select engine.status_name(%s::smallint)", (status.value,)).fetchone() == (status.name,)


def test_a_status_set_by_hand_is_dated_and_audited(admin: psycopg.Connection) -> None:
    tenant_id = insert(admin, new_key())

    set_status(admin, tenant_id, Status.PROVISION_FAILED)

    assert audit(admin, tenant_id) == [
        ("postgres", "sql", "set_status", {"status": {"old": "PENDING_PROVISION", "new": "PROVISION_FAILED"}})
    ]
    when = all_of(admin, "select metadata->>'lastStatusUpdate' from tenant_management.tenants where id = %s", tenant_id)
    assert all_of(admin, "select now() - %s::timestamptz between interval '0' and '1 minute'", when[0][0]) == [(True,)]


def test_writing_the_status_it_has_is_no_change(admin: psycopg.Connection) -> None:
    tenant_id = insert(admin, new_key())

    set_status(admin, tenant_id, Status.PENDING_PROVISION)

    assert audit(admin, tenant_id) == []


def test_while_a_workflow_runs_no_operator_sets_a_status_but_any_may_write_metadata(
    company: Company, admin: psycopg.Connection, key: str
) -> None:
    execution = company.provision(key)
    before = dump(admin)

    for status in set(Status) - {Status.ACTIVE}:
        with pytest.raises(psycopg.errors.ObjectInUse) as refused:
            set_status(admin, execution.tenant_id, status)
        assert execution.workflow_id in str(refused.value)
        assert f"tenant-pipelines workflow signal {execution.workflow_id} provisioningCancelled" in (
            refused.value.diag.message_hint or ""
        )

    assert dump(admin) == before
    admin.execute("update tenant_management.tenants set metadata = metadata || '{\"note\": 1}' where key = %s", (key,))
    assert company.tenant(key).metadata["note"] == 1


def test_an_operators_update_waits_for_a_claim_that_is_being_made_and_is_then_refused(
    company: Company, admin: psycopg.Connection, shared_database: str, key: str
) -> None:
    tenant = company.create(key)
    refusals: list[psycopg.Error] = []

    def by_hand() -> None:
        with psycopg.connect(shared_database, autocommit=True) as operator:
            try:
                set_status(operator, tenant.id, Status.PROVISION_FAILED)
            except psycopg.Error as error:
                refusals.append(error)

    with psycopg.connect(shared_database) as claiming:
        claiming.execute("select from tenant_management.tenants where id = %s for update", (tenant.id,))
        operator = threading.Thread(target=by_hand)
        operator.start()
        claiming.execute(
            "insert into engine.executions (id, workflow_id, workflow_type, tenant_id, tenant_key, tier, generation,"
            " catalogue_version, state, run_id, requested_by) values (%s, 'w', 't', %s, %s, 'silo', 1, 1, 'forward',"
            " %s, 'me')",
            (execution_id := uuid4(), tenant.id, key, uuid4()),
        )
    operator.join(timeout=20)

    assert [type(refusal) for refusal in refusals] == [psycopg.errors.ObjectInUse]
    admin.execute("delete from engine.executions where id = %s", (execution_id,))


@pytest.mark.parametrize("domain", ["shop.example", "SHOP.Example"])
def test_a_domain_belongs_to_one_living_tenant(admin: psycopg.Connection, domain: str) -> None:
    first = insert(admin, new_key(), "shop.example", "www.shop.example")
    second = insert(admin, new_key(), "other.example")

    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(admin, new_key(), domain)
    with pytest.raises(psycopg.errors.UniqueViolation):
        admin.execute("update tenant_management.tenants set domains = %s where id = %s", ([domain], second))

    set_status(admin, first, Status.DEPROVISIONED)
    insert(admin, third := new_key(), domain)
    with pytest.raises(psycopg.errors.UniqueViolation):
        set_status(admin, first, Status.DEPROVISIONING)  # it would be alive again, and the domain is another's

    admin.execute("delete from tenant_management.tenants where key = %s", (third,))
    admin.execute("delete from tenant_management.tenants where id = any(%s)", ([first, second],))
    assert all_of(admin, "select * from tenant_management.domains where domain like '%%example'") == []


def test_a_domain_that_is_given_up_is_free(admin: psycopg.Connection) -> None:
    first = insert(admin, new_key(), "a.example", "b.example")

    admin.execute("update tenant_management.tenants set domains = '{b.example}' where id = %s", (first,))

    second = insert(admin, new_key(), "a.example")
    admin.execute("delete from tenant_management.tenants where id = any(%s)", ([first, second],))


def test_a_key_is_taken_until_its_tenant_is_deprovisioned(admin: psycopg.Connection, key: str) -> None:
    first = insert(admin, key)
    for status in set(Status) - {Status.DEPROVISIONED}:
        set_status(admin, first, status)
        with pytest.raises(psycopg.errors.UniqueViolation):
            insert(admin, key)

    set_status(admin, first, Status.DEPROVISIONED)
    insert(admin, key)


@pytest.mark.parametrize("key", ["", "a", "Acme", "1acme", "ac-me", "acme\n", "a" * 31, "ümlaut"])
def test_no_door_leads_round_the_form_of_a_key(admin: psycopg.Connection, key: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        insert(admin, key)


@pytest.mark.parametrize(
    "statement",
    [
        "update engine.operator_actions set performed_by = 'nobody'",
        "delete from engine.operator_actions",
        "truncate engine.operator_actions",
    ],
)
def test_the_audit_can_only_grow(admin: psycopg.Connection, key: str, statement: str) -> None:
    set_status(admin, insert(admin, key), Status.PROVISION_FAILED)
    before = dump(admin)["engine.operator_actions"]

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        admin.execute(statement.encode())

    assert dump(admin)["engine.operator_actions"] == before


def test_the_reserved_tenants_are_there_and_active(admin: psycopg.Connection) -> None:
    rows = all_of(admin, "select id, key, status, metadata from tenant_management.tenants where id = any(%s)", RESERVED)

    assert sorted(rows, key=str) == [
        (PLATFORM, "platform", Status.ACTIVE, {"schemaName": "public"}),
        (MANAGEMENT, "management", Status.ACTIVE, {"schemaName": "tenant_management"}),
    ]


RESERVED = [PLATFORM, MANAGEMENT]
