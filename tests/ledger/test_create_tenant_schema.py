"""The SQL function that makes a tenant's schema, called as an operator or the adapter would call it."""

import threading
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tenant_pipelines.domain.call import Mark

TABLES = {"users", "settings", "products", "categories", "customers", "orders", "order_items", "files"}


@pytest.fixture
def admin(shared_database: str, mark: Mark) -> Iterator[psycopg.Connection]:
    """The superuser, in a database that knows the tenant."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        connection.execute("drop schema if exists tenant_acme, trap cascade")
        connection.execute("delete from tenant_management.tenants where key in ('acme', 'gone')")
        connection.execute(
            "insert into tenant_management.tenants (id, key, name, tier) values (%s, %s, 'Acme', 'pooled')",
            (mark.tenant_id, mark.tenant_key),
        )
        yield connection


def tables(admin: psycopg.Connection, schema: str) -> set[str]:
    return {name for (name,) in admin.execute("select tablename from pg_tables where schemaname = %s", (schema,))}


def comment(admin: psycopg.Connection, schema: str) -> str | None:
    row = admin.execute("select obj_description(to_regnamespace(%s), 'pg_namespace')", (schema,)).fetchone()
    assert row is not None
    text: str | None = row[0]
    return text


def test_makes_eight_tables_and_marks_the_schema_in_the_same_call(admin: psycopg.Connection, mark: Mark) -> None:
    admin.execute("select create_tenant_schema('acme')")

    assert tables(admin, "tenant_acme") == TABLES
    assert comment(admin, "tenant_acme") == f"managedBy=tenant-pipelines tenantId={mark.tenant_id} tenantKey=acme"


def test_every_table_has_a_primary_key_and_every_foreign_key_an_index(admin: psycopg.Connection) -> None:
    admin.execute("select create_tenant_schema('acme')")

    without_key = admin.execute(
        "select relname from pg_class c where relnamespace = 'tenant_acme'::regnamespace and relkind = 'r'"
        " and not exists (select from pg_constraint where conrelid = c.oid and contype = 'p')"
    ).fetchall()
    without_index = admin.execute(
        "select conrelid::regclass, conname from pg_constraint f"
        " where connamespace = 'tenant_acme'::regnamespace and contype = 'f'"
        " and not exists (select from pg_index where indrelid = conrelid and indkey[0] = conkey[1])"
    ).fetchall()
    assert (without_key, without_index) == ([], [])


def test_an_order_can_be_taken_in_it(admin: psycopg.Connection) -> None:
    admin.execute("select create_tenant_schema('acme')")
    admin.execute("set search_path = tenant_acme")
    admin.execute("insert into products (sku, name, unit_price) values ('1', 'Pen', 1.20)")
    admin.execute("insert into customers (name) values ('Ann')")
    admin.execute("insert into orders (customer_id) select id from customers")
    admin.execute(
        "insert into order_items select orders.id, 1, products.id, 3, products.unit_price from orders, products"
    )

    with pytest.raises(psycopg.IntegrityError):
        admin.execute("delete from products")
    admin.execute("delete from orders")
    assert admin.execute("select * from order_items").fetchall() == []


def test_a_schema_of_ours_is_completed_and_keeps_its_rows(admin: psycopg.Connection) -> None:
    admin.execute("select create_tenant_schema('acme')")
    admin.execute("insert into tenant_acme.settings (name, value) values ('colour', '\"red\"')")
    admin.execute("drop table tenant_acme.files")

    admin.execute("select create_tenant_schema('acme')")

    assert tables(admin, "tenant_acme") == TABLES
    assert admin.execute("select value from tenant_acme.settings").fetchall() == [("red",)]


@pytest.mark.parametrize("text", [None, "managedBy=tenant-pipelines tenantId=another tenantKey=acme", "by hand"])
def test_a_schema_without_our_mark_is_left_alone(admin: psycopg.Connection, text: str | None) -> None:
    admin.execute("create schema tenant_acme")
    admin.execute(sql.SQL("comment on schema tenant_acme is {}").format(sql.Literal(text)))

    with pytest.raises(psycopg.errors.DuplicateSchema) as refused:
        admin.execute("select create_tenant_schema('acme')")

    assert refused.value.sqlstate == "42P06"
    assert "another" not in str(refused.value)
    assert (tables(admin, "tenant_acme"), comment(admin, "tenant_acme")) == (set(), text)


@pytest.mark.parametrize("key", ["", "a", "Acme", "1acme", "ac-me", "ac_me", 'acme"', "a" * 31, "acme\n", None])
def test_a_malformed_key_makes_nothing(admin: psycopg.Connection, key: str | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        admin.execute("select create_tenant_schema(%s::text)", (key,))


def test_a_key_that_no_living_tenant_has_makes_nothing(admin: psycopg.Connection) -> None:
    admin.execute(
        "insert into tenant_management.tenants (key, name, tier, status) values ('gone', 'Gone', 'pooled', 8)"
    )
    for key in ("nobody", "gone"):
        with pytest.raises(psycopg.errors.NoDataFound):
            admin.execute("select create_tenant_schema(%s)", (key,))

    assert comment(admin, "tenant_gone") is None


def test_a_key_used_again_belongs_to_the_living_tenant(admin: psycopg.Connection, mark: Mark) -> None:
    former = UUID("11111111-2222-4333-8444-555555555555")
    admin.execute(
        "insert into tenant_management.tenants (id, key, name, tier, status) values (%s, 'acme', 'Old', 'pooled', 8)",
        (former,),
    )

    admin.execute("select create_tenant_schema('acme')")

    assert f"tenantId={mark.tenant_id} " in (comment(admin, "tenant_acme") or "")


def test_two_callers_at_once_both_succeed(admin: psycopg.Connection, shared_database: str) -> None:
    start = threading.Barrier(2)
    failures: list[Exception] = []

    def make() -> None:
        with psycopg.connect(shared_database) as connection:
            start.wait(timeout=10)
            try:
                connection.execute("select create_tenant_schema('acme')")
            except psycopg.Error as error:
                failures.append(error)

    both = [threading.Thread(target=make) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(timeout=20)

    assert failures == []
    assert tables(admin, "tenant_acme") == TABLES


def test_the_schema_belongs_to_tenant_owner_whoever_calls(admin: psycopg.Connection) -> None:
    admin.execute("select create_tenant_schema('acme')")

    owners = admin.execute(
        "select distinct nspowner::regrole::text, relowner::regrole::text from pg_namespace n"
        " join pg_class c on relnamespace = n.oid where nspname = 'tenant_acme'"
    ).fetchall()
    assert owners == [("tenant_owner", "tenant_owner")]


def test_only_the_provisioner_may_call_it(admin: psycopg.Connection) -> None:
    may = admin.execute(
        "select rolname from pg_roles where not rolsuper and rolname !~ '^pg_'"
        " and has_function_privilege(oid, 'tenant_management.create_tenant_schema(text)', 'execute')"
    ).fetchall()

    assert {name for (name,) in may} == {"provisioner", "tenant_owner"}


def test_a_caller_cannot_slip_in_objects_of_its_own(admin: psycopg.Connection) -> None:
    """The function runs with its owner's rights: no name in it may be looked up through the caller's path."""
    admin.execute("create schema trap")
    admin.execute("create function trap.hashtextextended(text, bigint) returns bigint language sql as 'select 1/0'")
    admin.execute("create function trap.gen_random_uuid() returns uuid language sql as 'select null::uuid'")
    admin.execute("set search_path = trap, pg_catalog, tenant_management")

    admin.execute("select create_tenant_schema('acme')")

    assert admin.execute("show search_path").fetchone() == ("trap, pg_catalog, tenant_management",)
    admin.execute("insert into tenant_acme.customers (name) values ('Ann')")
