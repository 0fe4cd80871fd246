"""What the role control_plane may do: all that the ledger needs, and nothing else."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.outcomes import Adopted, Created, Removed
from tenant_pipelines.domain.ports import ResourceRow
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.ledger.resource_records import ResourceRecords
from tenant_pipelines.operations.signal import signal
from tests.fakes.company import TESTER, Company
from tests.fakes.runs import Killed
from tests.fakes.systems import Systems
from tests.operations.stage import all_of, audit, new_key


def test_the_stage_acts_as_the_role_and_not_as_superuser(control_plane: str) -> None:
    with psycopg.connect(control_plane) as connection:
        row = connection.execute("select rolname, rolsuper from pg_roles where rolname = current_user").fetchone()

    assert row == ("control_plane", False)


def test_the_role_is_enough_for_a_whole_life_of_workflows(company: Company, systems: Systems) -> None:
    confirmed = company.provision(new_key())
    signal(company.desk, confirmed.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    assert company.execution(confirmed).state is State.COMPLETED

    systems.fail("deploy", Answered("Kubernetes", "said no"), times=2)
    systems.fail("remove bucket", Answered("S3", "said no"), times=2)
    failed = company.settle(company.provision(new_key()))
    assert failed.state is State.FAILED

    died: list[str] = []

    def die_once(operation: str) -> None:
        if operation == "bucket" and not died:
            died.append(operation)
            raise Killed

    systems.before = die_once
    continued = company.settle(company.provision(new_key()))
    signal(company.desk, continued.tenant_id, "provisioningCancelled", {}, key="2", claimant=TESTER)
    assert company.execution(continued).state is State.CANCELLED
    assert len(company.desk.ledger.history(continued.id)) > 10
    assert len(company.desk.ledger.executions()) == len(company.desk.ledger.tenants()) - 2 == 3  # two are reserved


def test_the_role_is_enough_for_the_resource_rows(company: Company, call: Callable[[], Call], key: str) -> None:
    records, mark = ResourceRecords(company.database), company.create(key).mark
    rows = [ResourceRow("bucket", "b", {"region": "r"}), ResourceRow("schema", "s", {})]

    assert [type(one) for one in records.ensure_resources(rows=rows, mark=mark, call=call())] == [Created, Created]
    assert [type(one) for one in records.ensure_resources(rows=rows[:1], mark=mark, call=call())] == [Adopted]
    assert [ref.name for ref in records.find(mark=mark, call=call())] == ["bucket b"]
    assert [type(one) for one in records.remove_resources(mark=mark, call=call())] == [Removed]


FORBIDDEN = [
    "create schema mine",
    "create role mine",
    "alter role control_plane superuser",
    "create table tenant_management.mine ()",
    "create table engine.mine ()",
    "create table public.mine ()",
    "create temporary table mine ()",
    "create function engine.mine() returns int language sql as 'select 1'",
    "drop table engine.history",
    "truncate engine.history",
    "alter table tenant_management.tenants disable trigger guard_tenant",
    "alter table engine.operator_actions disable trigger append_only",
    "set session_replication_role = replica",
    "update engine.operator_actions set performed_by = 'nobody'",
    "delete from engine.operator_actions",
    "select * from tenant_acme.users",
    "drop schema tenant_acme cascade",
    "select create_tenant_schema('acme')",
    "select * from public.schema_version",
    "set role tenant_owner",
    "set role provisioner",
    "select pg_read_file('/etc/passwd')",
    "copy tenant_management.tenants to program 'cat > /dev/null'",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_role_may_not(admin: psycopg.Connection, company: Company, control_plane: str, statement: str) -> None:
    admin.execute("create schema if not exists tenant_acme")
    admin.execute("create table if not exists tenant_acme.users ()")

    with psycopg.connect(control_plane, autocommit=True) as role, pytest.raises(psycopg.errors.InsufficientPrivilege):
        role.execute(statement.encode())

    admin.execute("drop schema tenant_acme cascade")


def test_the_list_of_what_is_forbidden_is_not_empty_talk(admin: psycopg.Connection, company: Company) -> None:
    """The same statements are possible for somebody: none of them fails because it is written wrongly."""
    admin.execute("insert into tenant_management.tenants (key, name, tier) values ('acme', 'A', 'pooled')")
    admin.execute("select create_tenant_schema('acme')")
    for statement in FORBIDDEN:
        if "operator_actions set" in statement or "from engine.operator_actions" in statement:
            continue  # nobody may
        with psycopg.connect(admin.info.dsn, password=admin.info.password) as superuser:
            superuser.execute(statement.encode())
            superuser.rollback()
    admin.execute("drop schema tenant_acme cascade")
    admin.execute("delete from tenant_management.tenants where key = 'acme'")


def test_nobody_else_was_let_in(admin: psycopg.Connection) -> None:
    public = all_of(
        admin,
        "select nspname from pg_namespace where has_schema_privilege('public', oid, 'usage')"
        " and nspname !~ '^(pg_|information_schema)'",
    )
    definers = all_of(
        admin,
        "select oid::regproc::text from pg_proc where prosecdef and pronamespace::regnamespace::text in"
        " ('engine', 'tenant_management', 'public') and proconfig is null",
    )

    assert (public, definers) == ([], [])


# Who may call itself the engine


@pytest.fixture
def role(admin: psycopg.Connection) -> Iterator[str]:
    """An operator's own role, who may write tenants and is not the engine."""
    name = f"operator_{new_key()}"
    admin.execute(f"create role {name} login password 'x'".encode())
    admin.execute(f"grant usage on schema tenant_management to {name}".encode())
    admin.execute(f"grant select, update on tenant_management.tenants to {name}".encode())
    yield name
    admin.execute(f"drop owned by {name}".encode())
    admin.execute(f"drop role {name}".encode())


def as_role(shared_database: str, role: str) -> psycopg.Connection:
    return psycopg.connect(make_conninfo(shared_database, user=role, password="x"), autocommit=True)


def test_an_operator_cannot_pass_for_the_engine(company: Company, shared_database: str, role: str, key: str) -> None:
    running = company.provision(key)
    with as_role(shared_database, role) as operator:
        operator.execute("set engine.acting = on")
        for change in ("status = 3", "metadata = '{}'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"role {role} is not the engine") as refused:
                operator.execute(f"update tenant_management.tenants set {change} where key = %s".encode(), (key,))
            assert "reset engine.acting" in (refused.value.diag.message_hint or "")
        operator.execute("reset engine.acting")
        with pytest.raises(psycopg.errors.ObjectInUse, match=running.workflow_id):
            operator.execute("update tenant_management.tenants set status = 3 where key = %s", (key,))


def test_an_operators_own_sql_is_honoured_and_recorded_under_its_name(
    company: Company, admin: psycopg.Connection, shared_database: str, role: str, key: str
) -> None:
    tenant = company.create(key)

    with as_role(shared_database, role) as operator:
        operator.execute("update tenant_management.tenants set status = 5 where key = %s", (key,))

    assert audit(admin, tenant.id)[-1][:3] == (role, "sql", "set_status")


def test_a_member_of_the_engines_role_is_the_engine(
    company: Company, admin: psycopg.Connection, shared_database: str, role: str, key: str
) -> None:
    company.create(key)
    admin.execute(f"grant control_plane to {role}".encode())

    with as_role(shared_database, role) as engine:
        engine.execute("set engine.acting = on")
        engine.execute("update tenant_management.tenants set status = 2 where key = %s", (key,))
        with pytest.raises(psycopg.errors.CheckViolation, match="from PROVISIONING to DEPROVISIONED"):
            engine.execute("update tenant_management.tenants set status = 8 where key = %s", (key,))
