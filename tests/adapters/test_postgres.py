"""The contract of the PostgreSQL adapter, against a real server and as the narrow role the product uses.

TENANT_PIPELINES_TEST_POSTGRES_URL (superuser, password included) puts another server in the place of the wheel's.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sandbox.postgres import Server
from tenant_pipelines.adapters.postgres import Postgres, PostgresConfig
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, NothingToRemove, NotOurs, ObjectRef, Removed
from tenant_pipelines.domain.ports import DatabaseAccess, SchemaStore
from tenant_pipelines.ledger import migrate
from tests.conftest import Fence, FenceLowered

MakeCall = Callable[..., Call]
PASSWORD = "Prov!sioner-5ecret"
SCHEMA = "tenant_acme"
ROLES_OF_TENANTS = "select rolname from pg_roles where rolname in ('tenant_acme', 'tenant_neighbour')"
REF = ObjectRef("postgres", "schema", SCHEMA, SCHEMA)
ROLE = ObjectRef("postgres", "role", SCHEMA, SCHEMA)


@pytest.fixture
def admin(shared_database: str, mark: Mark, neighbour: Mark) -> Iterator[psycopg.Connection]:
    """The superuser, in a database with two tenants' rows; roles of tenants are dropped in the end."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        _put_back(connection)
        for tenant in (mark, neighbour):
            connection.execute(
                "insert into tenant_management.tenants (id, key, name, tier) values (%s, %s, 'A name', 'pooled')",
                (tenant.tenant_id, tenant.tenant_key),
            )
        yield connection
        _put_back(connection)
        connection.execute("alter role provisioner nologin")


def _put_back(connection: psycopg.Connection) -> None:
    """The database as the migrations made it, and a provisioner who can log in."""
    connection.execute("drop schema if exists tenant_acme, tenant_neighbour, renamed, late cascade")
    for (role,) in connection.execute(ROLES_OF_TENANTS).fetchall():
        connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))
    connection.execute("delete from tenant_management.tenants where key in ('acme', 'neighbour')")
    connection.execute(migrate.FUNCTION.read_bytes())
    login = "alter role provisioner login connection limit -1 password {}"
    connection.execute(sql.SQL(login).format(sql.Literal(PASSWORD)))


def adapter(admin: psycopg.Connection, **changes: str | int) -> Postgres:
    """The adapter as the provisioner, in the test's database; `changes` go into its conninfo."""
    info = admin.info
    parameters: dict[str, str | int] = {"host": info.host, "port": info.port, "dbname": info.dbname}
    parameters |= {"user": "provisioner", "password": PASSWORD} | changes
    conninfo = make_conninfo("", **parameters)
    return Postgres(PostgresConfig(conninfo, public_host=info.host, public_port=info.port, connections_per_tenant=3))


@pytest.fixture
def store(admin: psycopg.Connection) -> Postgres:
    return adapter(admin)


@pytest.fixture
def provisioned(store: Postgres, mark: Mark, neighbour: Mark, call: MakeCall) -> SchemaStore:
    """Both tenants have their schema and role."""
    for tenant in (mark, neighbour):
        schema = f"tenant_{tenant.tenant_key}"
        store.ensure_schema(key=tenant.tenant_key, schema=schema, mark=tenant, call=call())
        store.ensure_role(schema=schema, mark=tenant, call=call())
    return store


def one(admin: psycopg.Connection, query: str) -> object:
    row = admin.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def tenant_objects(admin: psycopg.Connection) -> list[tuple[str, ...]]:
    """Schemas and roles of tenants with their comments, straight from the catalogue."""
    return admin.execute(
        "select 'schema', nspname, obj_description(oid, 'pg_namespace') from pg_namespace"
        " where nspname in ('tenant_acme', 'tenant_neighbour') union all"
        " select 'role', rolname, shobj_description(oid, 'pg_authid') from pg_roles"
        " where rolname in ('tenant_acme', 'tenant_neighbour') order by 1, 2"
    ).fetchall()


@contextmanager
def as_tenant(access: DatabaseAccess) -> Iterator[psycopg.Connection]:
    """A session of the tenant's application."""
    with psycopg.connect(
        host=access.host,
        port=access.port,
        dbname=access.database,
        user=access.user,
        password=access.password,
        autocommit=True,
    ) as connection:
        yield connection


# -- ensure --


def test_creates_the_schema_marks_it_and_counts_its_tables(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    outcome = store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())

    assert outcome == Created(REF, {"tables": "8"})
    text = f"managedBy=tenant-pipelines tenantId={mark.tenant_id} tenantKey=acme"
    assert tenant_objects(admin) == [("schema", SCHEMA, text)]


def test_creates_a_marked_role_that_cannot_log_in(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark
) -> None:
    assert ("role", SCHEMA, f"managedBy=tenant-pipelines tenantId={mark.tenant_id} tenantKey=acme") in tenant_objects(
        admin
    )
    found = admin.execute(
        "select rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolconnlimit, rolconfig from pg_roles"
        " where rolname = 'tenant_acme'"
    ).fetchone()
    assert found == (False, False, False, False, 3, ["search_path=tenant_acme"])


def test_ensuring_again_adopts_completes_and_loses_no_row(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("insert into tenant_acme.settings values ('colour', '1')")
    admin.execute("drop table tenant_acme.files")
    admin.execute("revoke all on all tables in schema tenant_acme from tenant_acme")

    schema = provisioned.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())
    role = provisioned.ensure_role(schema=SCHEMA, mark=mark, call=call())

    assert (schema, role) == (Adopted(REF, {"tables": "8"}), Adopted(ROLE))
    assert one(admin, "select count(*) from tenant_acme.settings") == 1
    assert one(admin, "select has_table_privilege('tenant_acme', 'tenant_acme.files', 'insert')") is True


def test_adopting_a_role_leaves_it_its_password(provisioned: SchemaStore, mark: Mark, call: MakeCall) -> None:
    access = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())

    provisioned.ensure_role(schema=SCHEMA, mark=mark, call=call())

    with as_tenant(access) as tenant:
        assert one(tenant, "select 1") == 1


def test_adopting_a_role_takes_it_out_of_other_tenants_schemas(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("grant usage, create on schema tenant_neighbour to tenant_acme")
    admin.execute("grant select on tenant_neighbour.users to tenant_acme")

    provisioned.ensure_role(schema=SCHEMA, mark=mark, call=call())

    access = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())
    with as_tenant(access) as tenant, pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.execute("select * from tenant_neighbour.users")


@pytest.mark.parametrize("comment", [None, "managedBy=tenant-pipelines tenantId=somebody-else tenantKey=acme"])
def test_a_foreign_schema_is_refused_and_untouched(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall, fence: Fence, comment: str | None
) -> None:
    admin.execute("create schema tenant_acme")
    admin.execute(sql.SQL("comment on schema tenant_acme is {}").format(sql.Literal(comment)))
    before = tenant_objects(admin)

    for ensure in ("ensure_schema", "ensure_role"):
        with pytest.raises(ResourceAlreadyExists, match="schema tenant_acme exists") as refused:
            _writes(store, mark, call())[ensure]()
        assert "somebody" not in str(refused.value)

    assert store.remove_schema(schema=SCHEMA, mark=mark, call=call()) == NotOurs(REF)
    assert (tenant_objects(admin), fence.asked) == (before, 0)


def test_a_foreign_role_is_refused_and_untouched(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("create role tenant_acme login password 'theirs'")
    store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())
    before = one(admin, "select rolpassword from pg_authid where rolname = 'tenant_acme'")

    with pytest.raises(ResourceAlreadyExists, match="role tenant_acme exists"):
        store.ensure_role(schema=SCHEMA, mark=mark, call=call())
    with pytest.raises(ResourceAlreadyExists, match="role tenant_acme exists"):
        store.issue_access(schema=SCHEMA, mark=mark, call=call())

    assert store.remove_role(schema=SCHEMA, mark=mark, call=call()) == NotOurs(ROLE)
    assert one(admin, "select rolpassword from pg_authid where rolname = 'tenant_acme'") == before


def test_a_role_needs_its_schema_and_an_access_its_role(store: SchemaStore, mark: Mark, call: MakeCall) -> None:
    with pytest.raises(ResourceNotFound, match="schema tenant_acme does not exist"):
        store.ensure_role(schema=SCHEMA, mark=mark, call=call())
    with pytest.raises(ResourceNotFound, match="role tenant_acme does not exist"):
        store.issue_access(schema=SCHEMA, mark=mark, call=call())


# -- access --


def test_the_tenant_works_in_its_own_schema_by_bare_names(provisioned: SchemaStore, mark: Mark, call: MakeCall) -> None:
    access = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())

    with as_tenant(access) as tenant:
        tenant.execute("insert into customers (name) values ('Ann')")
        tenant.execute("insert into orders (customer_id) select id from customers")
        assert one(tenant, "select number from tenant_acme.orders") == 1
        tenant.execute("delete from orders")
    assert (access.user, access.schema, len(access.password) >= 32) == (SCHEMA, SCHEMA, True)


FORBIDDEN = [
    "select * from tenant_neighbour.users",
    "insert into tenant_neighbour.settings values ('a', '1')",
    "select * from tenant_management.tenants",
    "select * from engine.executions",
    "select tenant_management.create_tenant_schema('other')",
    "create table tenant_acme.mine (a int)",
    "create table public.mine (a int)",
    "create temporary table mine (a int)",
    "create schema mine",
    "create role mine",
    "drop table tenant_acme.files",
    "truncate tenant_acme.files",
    "alter role tenant_neighbour login",
    "set role tenant_owner",
    "select pg_read_file('/etc/passwd')",
    "copy tenant_acme.users to program 'true'",
]


def test_the_tenant_can_do_nothing_else(provisioned: SchemaStore, mark: Mark, call: MakeCall) -> None:
    def allowed(statement: str) -> bool:
        try:
            tenant.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    with as_tenant(provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())) as tenant:
        assert [statement for statement in FORBIDDEN if allowed(statement)] == []


def test_a_new_password_replaces_the_one_before(provisioned: SchemaStore, mark: Mark, call: MakeCall) -> None:
    first = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())
    second = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())

    with pytest.raises(psycopg.OperationalError), as_tenant(first):
        pass
    with as_tenant(second) as tenant:
        assert one(tenant, "select current_user") == SCHEMA
    assert first.password != second.password
    assert first.password not in repr(first)


def test_the_server_stores_a_verifier_and_limits_the_connections(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    access = provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())

    assert str(one(admin, "select rolpassword from pg_authid where rolname = 'tenant_acme'")).startswith(
        "SCRAM-SHA-256$"
    )
    with as_tenant(access), as_tenant(access), as_tenant(access), pytest.raises(psycopg.OperationalError):
        as_tenant(access).__enter__()


# -- remove and find --


def test_removes_role_and_schema_and_then_has_nothing_to_remove(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, neighbour: Mark, call: MakeCall
) -> None:
    theirs = [found for found in tenant_objects(admin) if found[1] == "tenant_neighbour"]
    provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())

    assert provisioned.remove_role(schema=SCHEMA, mark=mark, call=call()) == Removed(ROLE)
    assert provisioned.remove_schema(schema=SCHEMA, mark=mark, call=call()) == Removed(REF)
    assert provisioned.remove_role(schema=SCHEMA, mark=mark, call=call()) == NothingToRemove(ROLE)
    assert provisioned.remove_schema(schema=SCHEMA, mark=mark, call=call()) == NothingToRemove(REF)

    assert tenant_objects(admin) == theirs
    assert len(theirs) == 2
    assert provisioned.find(mark=mark, call=call()) == []


def test_a_role_that_is_logged_in_and_owns_things_is_removed_all_the_same(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("create table tenant_acme.own (a int); alter table tenant_acme.own owner to tenant_acme")
    with as_tenant(provisioned.issue_access(schema=SCHEMA, mark=mark, call=call())) as tenant:
        assert provisioned.remove_role(schema=SCHEMA, mark=mark, call=call()) == Removed(ROLE)

        with pytest.raises(psycopg.OperationalError):
            tenant.execute("select 1")


def test_finds_what_carries_the_mark_whatever_it_is_called(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("alter schema tenant_acme rename to renamed")

    found = provisioned.find(mark=mark, call=call())

    assert sorted(found, key=lambda ref: ref.kind) == [ROLE, ObjectRef("postgres", "schema", "renamed", "renamed")]


# -- the fence --


def _writes(store: SchemaStore, mark: Mark, call: Call) -> dict[str, Callable[[], object]]:
    return {
        "ensure_schema": lambda: store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call),
        "ensure_role": lambda: store.ensure_role(schema=SCHEMA, mark=mark, call=call),
        "issue_access": lambda: store.issue_access(schema=SCHEMA, mark=mark, call=call),
        "remove_schema": lambda: store.remove_schema(schema=SCHEMA, mark=mark, call=call),
        "remove_role": lambda: store.remove_role(schema=SCHEMA, mark=mark, call=call),
    }


class LoweredWhenAsked:
    """A fence that lets so many through, then none."""

    def __init__(self, lets_through: int) -> None:
        self.left = lets_through

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise FenceLowered


def _state(admin: psycopg.Connection) -> object:
    rest = "select rolcanlogin, rolpassword from pg_authid where rolname = 'tenant_acme'"
    return tenant_objects(admin), admin.execute(rest).fetchall(), one(admin, "select count(*) from pg_class")


@pytest.mark.parametrize("lets_through", [0, 1], ids=["before the write", "before the commit"])
@pytest.mark.parametrize("name", ["ensure_schema", "ensure_role", "issue_access", "remove_schema", "remove_role"])
def test_nothing_is_written_once_the_fence_is_lowered(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, name: str, lets_through: int
) -> None:
    admin.execute("drop table tenant_acme.files")
    before = _state(admin)
    lowered = Call(key="k", deadline=1e12, fence=LoweredWhenAsked(lets_through))

    with pytest.raises(FenceLowered):
        _writes(provisioned, mark, lowered)[name]()

    assert _state(admin) == before


def test_each_transaction_asks_the_fence_twice_and_looking_never(
    provisioned: SchemaStore, mark: Mark, call: MakeCall, fence: Fence
) -> None:
    asked = {}
    for name, write in _writes(provisioned, mark, call()).items():
        before = fence.asked
        write()
        asked[name] = fence.asked - before
    before = fence.asked
    provisioned.find(mark=mark, call=call())

    assert asked == {"ensure_schema": 2, "ensure_role": 2, "issue_access": 2, "remove_schema": 2, "remove_role": 6}
    assert fence.asked == before


# -- what can go wrong --


def test_a_missing_function_names_the_command_that_restores_it(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    admin.execute("drop function tenant_management.create_tenant_schema(text)")

    with pytest.raises(InvalidConfiguration) as failed:
        store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())

    assert failed.value.what == "function create_tenant_schema does not exist"
    assert failed.value.way_out == "psql -U postgres -d arc_saas -f docker/init-db/01-init-schemas.sql"


def test_what_the_function_refuses_is_final(store: SchemaStore, neighbour: Mark, call: MakeCall) -> None:
    with pytest.raises(ResourceNotFound, match="no living tenant with the key nobody"):
        store.ensure_schema(key="nobody", schema="tenant_nobody", mark=neighbour, call=call())
    with pytest.raises(Validation):
        store.ensure_schema(key="No-Key", schema="tenant_No-Key", mark=neighbour, call=call())
    with pytest.raises(InvalidConfiguration, match="made no schema tenant_else"):
        store.ensure_schema(key="neighbour", schema="tenant_else", mark=neighbour, call=call())


def test_missing_rights_are_named(store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall) -> None:
    admin.execute(
        "revoke execute on function tenant_management.create_tenant_schema(text) from provisioner, tenant_owner"
    )

    with pytest.raises(PermissionDenied, match="does not allow role provisioner") as failed:
        store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())

    assert "01-init-schemas.sql" in (failed.value.way_out or "")


def test_a_lock_of_somebody_else_is_waited_for_only_so_long(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    with admin.transaction():
        admin.execute("lock table tenant_acme.users")
        with pytest.raises(LockHeld, match="55P03"):
            provisioned.remove_schema(schema=SCHEMA, mark=mark, call=call(seconds=1))

    assert provisioned.remove_schema(schema=SCHEMA, mark=mark, call=call()) == Removed(REF)


def _replace_function(admin: psycopg.Connection, body: str) -> None:
    admin.execute(
        "create or replace function tenant_management.create_tenant_schema(tenant_key text) returns void"
        f" language plpgsql security invoker as $$ begin {body} end $$".encode()
    )


def test_a_statement_that_takes_too_long_is_ended_by_the_server(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    _replace_function(admin, "create schema late; perform pg_sleep(30);")

    with pytest.raises(Outage, match=r"Connection timeout \(ETIMEDOUT\)") as failed:
        store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call(seconds=1))

    assert not failed.value.lost
    running = (
        "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query ~ 'create_'"
    )
    assert one(admin, running) == 0


def test_a_server_that_goes_away_in_the_middle_is_an_outage(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    _replace_function(admin, "perform pg_terminate_backend(pg_backend_pid());")

    with pytest.raises(Outage, match=r"Connection refused \(ECONNREFUSED\) "):
        store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53300", Outage),
        ("57P03", Outage),
        ("08006", Outage),
        ("25006", Outage),
        ("40P01", LockHeld),
        ("40001", LockHeld),
        ("28000", InvalidCredentials),
        ("42501", PermissionDenied),
        ("XX000", Answered),
        ("23505", Answered),
    ],
)
def test_error_codes_become_failures_without_the_servers_words(
    store: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall, state: str, kind: type[Failure]
) -> None:
    _replace_function(admin, f"raise exception 'of tenant neighbour' using errcode = '{state}';")

    with pytest.raises(Failure) as failed:
        store.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call())

    assert type(failed.value) is kind
    assert isinstance(failed.value.__cause__, psycopg.Error)
    assert "neighbour" not in str(failed.value)


# -- connecting --


def test_a_wrong_password_is_final_and_shown_nowhere(
    admin: psycopg.Connection, postgres: Server, mark: Mark, call: MakeCall
) -> None:
    store = adapter(admin, password="Wr0ng-5ecret")

    with pytest.raises(
        InvalidCredentials, match=r"^PostgreSQL does not accept the credentials of role provisioner"
    ) as failed:
        store.find(mark=mark, call=call())

    chain = f"{failed.value} {failed.value!r} {failed.value.__cause__!r} {failed.value.way_out}"
    assert "Wr0ng-5ecret" not in chain
    assert "28P01" in chain


def test_secrets_are_in_no_repr(admin: psycopg.Connection) -> None:
    config = PostgresConfig(f"postgresql://u:{PASSWORD}@h/d", "h", 5432)

    assert PASSWORD not in repr(config) + repr(Postgres(config)) + repr(vars(Postgres(config)))
    with pytest.raises(InvalidConfiguration) as failed:
        Postgres(PostgresConfig(f"password={PASSWORD} oops {PASSWORD}", "h", 5432))
    assert PASSWORD not in str(failed.value)
    assert failed.value.__suppress_context__


@pytest.mark.parametrize(
    ("change", "prepare", "kind", "text"),
    [
        ({"dbname": "nowhere"}, None, InvalidConfiguration, "has no database nowhere"),
        ({}, "alter role provisioner nologin", InvalidCredentials, "28000"),
        ({}, "alter role provisioner connection limit 0", Outage, "53300"),
    ],
)
def test_the_reason_of_a_refused_session_is_known(
    admin: psycopg.Connection,
    mark: Mark,
    call: MakeCall,
    change: dict[str, str],
    prepare: str | None,
    kind: type[Failure],
    text: str,
) -> None:
    if prepare:
        admin.execute(prepare.encode())

    with pytest.raises(kind, match=text):
        adapter(admin, **change).find(mark=mark, call=call())


@contextmanager
def listening(answer: Callable[[socket.socket, threading.Event], object]) -> Iterator[int]:
    """A server on loopback that treats each connection as told, until the event is set."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    answer(connection, stop)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join(timeout=10)


def _startup(connection: socket.socket, _: threading.Event) -> None:
    """Read what a client says first, declining TLS and GSSAPI."""
    while int.from_bytes((connection.recv(4096) + bytes(8))[4:8], "big") in (80877103, 80877104):
        connection.sendall(b"N")


def test_a_dead_port_is_a_refusal(admin: psycopg.Connection, mark: Mark, call: MakeCall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]

    with pytest.raises(Outage, match=re.escape(f"Connection refused (ECONNREFUSED) 127.0.0.1:{port}")) as failed:
        adapter(admin, port=port).find(mark=mark, call=call())

    assert not failed.value.lost


def test_a_silent_server_is_a_timeout(admin: psycopg.Connection, mark: Mark, call: MakeCall) -> None:
    with listening(lambda _, stop: stop.wait(10)) as port:
        silent = adapter(admin, port=port)
        expected = re.escape(f"Connection timeout (ETIMEDOUT) 127.0.0.1:{port}")
        with pytest.raises(Outage, match=expected) as failed:
            silent.ensure_schema(key="acme", schema=SCHEMA, mark=mark, call=call(seconds=1))

    assert not failed.value.lost


def test_a_server_that_closes_at_once_is_an_outage(admin: psycopg.Connection, mark: Mark, call: MakeCall) -> None:
    with listening(_startup) as port:
        expected = re.escape(f"Connection refused (ECONNREFUSED) 127.0.0.1:{port}")
        with pytest.raises(Outage, match=expected):
            adapter(admin, port=port).find(mark=mark, call=call())


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (_message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"), Outage, "57P03"),
        (_message(b"E", b"SFATAL\0C53300\0Msorry\0\0"), Outage, "53300"),
        (_message(b"R", (5).to_bytes(4, "big") + b"salt"), Answered, "authentication method 5"),
        (_message(b"R", (10).to_bytes(4, "big") + b"OTHER\0\0"), Answered, "authentication method 10"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Answered, "not PostgreSQL"),
    ],
)
def test_other_ways_to_refuse_a_session(
    admin: psycopg.Connection, mark: Mark, call: MakeCall, answer: bytes, kind: type[Failure], text: str
) -> None:
    def refuse(connection: socket.socket, stop: threading.Event) -> None:
        _startup(connection, stop)
        connection.sendall(answer)

    with listening(refuse) as port, pytest.raises(kind, match=text) as failed:
        adapter(admin, port=port).find(mark=mark, call=call())

    assert PASSWORD not in str(failed.value)


# -- lost answers --


class Relay:
    """Passes bytes to the server and back until the client says `word`: then its answer is kept from the client."""

    def __init__(self, host: str, port: int, word: bytes) -> None:
        self.heard = b""
        self._server = (host, port)
        self._word = word

    def __call__(self, client: socket.socket, _: threading.Event) -> None:
        with socket.create_connection(self._server) as server:
            silent = threading.Event()

            def back() -> None:
                while data := server.recv(65536):
                    if not silent.is_set():
                        client.sendall(data)

            answers = threading.Thread(target=back)
            answers.start()
            while data := client.recv(65536):
                self.heard += data
                if self._word in data:
                    silent.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            answers.join(timeout=10)


@pytest.mark.parametrize("name", ["ensure_schema", "ensure_role", "issue_access", "remove_schema", "remove_role"])
def test_a_lost_answer_is_found_done_by_the_next_attempt(
    admin: psycopg.Connection, mark: Mark, neighbour: Mark, call: MakeCall, name: str
) -> None:
    store = adapter(admin)
    before = {"ensure_schema": 0, "ensure_role": 1}.get(name, 2)
    for prepare in list(_writes(store, mark, call()).values())[:before]:
        prepare()
    relay = Relay(admin.info.host, admin.info.port, b"COMMIT")

    with listening(relay) as port, pytest.raises(Outage, match="ETIMEDOUT") as failed:
        _writes(adapter(admin, port=port, sslmode="disable"), mark, call(seconds=0.4))[name]()
    again = _writes(store, mark, call())[name]()

    assert failed.value.lost
    match name:
        case "ensure_schema" | "ensure_role":
            assert isinstance(again, Adopted)
        case "issue_access":
            assert isinstance(again, DatabaseAccess)
        case "remove_schema":
            assert again == NothingToRemove(REF)
        case _:
            assert again == Removed(ROLE)  # closing it was what got lost
    assert all(
        found[2] == f"managedBy=tenant-pipelines tenantId={mark.tenant_id} tenantKey=acme"
        for found in tenant_objects(admin)
    )


def test_a_password_never_travels_in_the_clear(
    provisioned: SchemaStore, admin: psycopg.Connection, mark: Mark, call: MakeCall
) -> None:
    relay = Relay(admin.info.host, admin.info.port, b"never said")

    with listening(relay) as port:
        access = adapter(admin, port=port, sslmode="disable").issue_access(schema=SCHEMA, mark=mark, call=call())

    assert b"alter role" in relay.heard
    assert access.password.encode() not in relay.heard
    assert PASSWORD.encode() not in relay.heard


def test_the_adapter_is_a_schema_store(store: Postgres) -> None:
    typed: SchemaStore = store
    assert typed is store
