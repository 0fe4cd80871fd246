"""`tenant create|list|show|provision`: the exit codes, what is said, and that a refusal changes nothing."""

import json
from functools import partial
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from dagster import DagsterInstance

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.tenant import MANAGEMENT, PLATFORM, Status
from tenant_pipelines.ledger import database
from tests.cli.conftest import Said, Terminal
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, audit, dump

WHO = ("--name", "Acme", "--admin-email", "ann@acme.example")


def create(terminal: Terminal, key: str, *more: str) -> Said:
    return terminal("tenant", "create", key, *WHO, "--no-provision", *more)


def test_create_makes_a_tenant_and_says_so(terminal: Terminal, company: HeardCompany, key: str) -> None:
    said = create(terminal, key, "--plan", "hybrid")

    tenant = company.tenant(key)
    assert (said.code, said.err) == (0, "")
    assert said.out == f"Tenant {key} (bridge) is PENDING_PROVISION: {tenant.id}\n"


def test_create_answers_with_the_whole_tenant(terminal: Terminal, admin: psycopg.Connection, key: str) -> None:
    said = create(
        terminal, key, "--plan", "free", "--domain", f"A.{key}.example", "--domain", f"b.{key}.example", "--json"
    )

    tenant = said.document
    assert said.code == 0
    assert {name: tenant[name] for name in ("key", "name", "status", "statusName", "tier", "domains", "metadata")} == {
        "key": key,
        "name": "Acme",
        "status": 1,
        "statusName": "PENDING_PROVISION",
        "tier": "pooled",
        "domains": [f"a.{key}.example", f"b.{key}.example"],
        "metadata": {},
    }
    assert [row[1:3] for row in audit(admin, UUID(tenant["id"]))] == [("cli", "create_tenant")]


REFUSED = [
    (("Acme", "--plan", "free"), 2, "2 to 30 small letters and digits"),
    (("a" * 31, "--plan", "free"), 2, "2 to 30 small letters and digits"),
    (("admin", "--plan", "free"), 1, "The key 'admin' is reserved"),
    (("fresh", "--plan", "gold"), 2, "Unknown plan 'gold'. Known plans: basic"),
    (("fresh", "--tier", "huge"), 2, "'huge' is none of pooled, bridge, silo"),
    (("fresh", "--plan", "free", "--tier", "silo"), 2, "silo does not agree with plan free, which is pooled"),
    (("fresh",), 2, "a plan or a tier must be given"),
    (("fresh", "--plan", "free", "--admin-email", "nobody"), 2, "'nobody' is not an e-mail address"),
    (("fresh", "--plan", "free", "--name", " "), 2, "name: must not be empty"),
    (("fresh", "--plan", "free", "--domain", "localhost"), 2, "'localhost' is not a domain name"),
    (("taken", "--plan", "free"), 1, "The key 'taken' is taken by another tenant"),
    (("fresh", "--plan", "free", "--domain", "Taken.Example"), 1, "belongs to another tenant"),
]


@pytest.mark.parametrize("provision", ["--provision", "--no-provision"])
def test_create_refuses_and_changes_nothing(terminal: Terminal, admin: psycopg.Connection, provision: str) -> None:
    admin.execute(
        "insert into tenant_management.tenants (key, name, tier, domains) values ('taken', 'A', 'pooled',"
        " '{taken.example}')"
    )
    before = dump(admin)

    for arguments, code, sentence in REFUSED:
        said = terminal("tenant", "create", arguments[0], *WHO, provision, *arguments[1:], "--json")
        assert (said.code, said.out) == (code, ""), (arguments, said)
        assert sentence in said.err

    assert dump(admin) == before
    admin.execute("delete from tenant_management.tenants where key = 'taken'")


def test_create_says_that_the_tenant_is_there_when_only_its_provisioning_is_refused(
    terminal: Terminal, company: HeardCompany, admin: psycopg.Connection, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT_PIPELINES_WORKER_QUEUE_LIMIT", "1")
    admin.execute("insert into engine.launches (run_id, job) values (gen_random_uuid(), 'j')")

    said = terminal("tenant", "create", key, *WHO, "--plan", "free")

    admin.execute("delete from engine.launches where job = 'j'")
    assert (said.code, said.out) == (3, "")
    assert f"Tenant {key} was created, and its provisioning was not begun: As many runs wait" in said.err
    assert f"Then: tenant-pipelines tenant provision {key}" in said.err
    assert company.tenant(key).status is Status.PENDING_PROVISION


@pytest.mark.parametrize(
    "arguments",
    [
        ("tenant",),
        ("tenant", "create"),
        ("tenant", "create", "acme", "--plan", "free"),
        ("tenant", "create", "acme", *WHO, "--plan", "free", "--nonsense"),
        ("tenant", "list", "--limit", "1001"),
        ("tenant", "list", "--status", "9"),
        ("tenant", "nonsense"),
    ],
)
def test_wrong_usage(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    assert terminal(*arguments).code == 2


def test_list_shows_the_newest_first_and_filters_by_status(terminal: Terminal, company: HeardCompany, key: str) -> None:
    older, newer = company.create(key), company.create(f"{key}x")

    said = terminal("tenant", "list", "--status", "1", "--limit", "2", "--json")

    assert [tenant["id"] for tenant in said.document["data"]] == [str(newer.id), str(older.id)]
    assert f"{key}x" in terminal("tenant", "list", "--limit", "2").out
    reserved = terminal("tenant", "list", "--status", "0", "--json").document["data"]
    assert {str(PLATFORM), str(MANAGEMENT)} <= {tenant["id"] for tenant in reserved}


def test_a_name_is_shown_as_it_is(terminal: Terminal, key: str) -> None:
    terminal("tenant", "create", key, "--name", "[/x] [red]Acme", *WHO[2:], "--no-provision", "--plan", "free")

    for command in (("list",), ("show", key)):
        said = terminal("tenant", *command)
        assert said.code == 0
        assert "[/x] [red]Acme" in said.out


def test_show_takes_a_key_or_an_id_and_tells_what_is_left_and_owed(
    terminal: Terminal, company: HeardCompany, systems: Systems, key: str
) -> None:
    company.undo_retry_for = 0.01
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=2)
    systems.fail("remove bucket", Answered("S3", "said no"), times=99)
    failed = company.settle(company.provision(key))

    by_key = terminal("tenant", "show", key, "--json").document
    by_id = terminal("tenant", "show", str(failed.tenant_id), "--json").document

    assert by_key == by_id
    assert (by_key["statusName"], by_key["owed"]) == ("PROVISION_FAILED", [])
    assert [(thing["system"], thing["kind"], thing["name"]) for thing in by_key["leftBehind"]] == [
        ("s3", "bucket", f"tenant-{key}")
    ]
    assert "requiresManualCleanup: True" in terminal("tenant", "show", key).out


@pytest.mark.parametrize("who", ["nobody", "Not A Key", "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11"])
@pytest.mark.parametrize("command", ["show", "provision"])
def test_an_unknown_tenant(terminal: Terminal, admin: psycopg.Connection, command: str, who: str) -> None:
    before = dump(admin)

    said = terminal("tenant", command, who)

    assert said.code == 1
    assert "There is no tenant" in said.err
    assert "tenant-pipelines tenant list" in said.err
    assert dump(admin) == before


def test_provision_refuses_and_changes_nothing(
    terminal: Terminal, company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    running = company.provision(key)
    active = company.create(f"{key}x")
    admin.execute("update tenant_management.tenants set status = 5 where id = %s", (active.id,))
    before = dump(admin)

    busy, wrong, reserved = (terminal("tenant", "provision", who) for who in (key, f"{key}x", "platform"))

    assert (busy.code, wrong.code, reserved.code) == (1, 1, 1)
    assert f"Workflow {running.workflow_id} of tenant {key} is running" in busy.err
    assert f"tenant-pipelines workflow signal {running.workflow_id} provisioningCancelled" in busy.err
    assert "is INACTIVE and cannot be provisioned; it can from PENDING_PROVISION" in wrong.err
    assert "never provisioned" in reserved.err
    assert dump(admin) == before


DAGSTER = """
run_coordinator: {module: dagster, class: QueuedRunCoordinator}
telemetry: {enabled: false}
"""


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # a client library's, when imported
def test_provision_puts_the_run_in_dagsters_queue(
    terminal: Terminal,
    company: HeardCompany,
    admin: psycopg.Connection,
    key: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "dagster.yaml").write_text(DAGSTER)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    created = terminal("tenant", "create", key, *WHO, "--plan", "free", "--json")
    assert created.code == 0, created
    tenant = json.loads(created.out)

    assert (tenant["status"], tenant["workflowId"]) == (2, f"provision-tenant-{tenant['id']}")
    assert company.tenant(key).status is Status.PROVISIONING
    with DagsterInstance.get() as instance:
        [run] = instance.get_runs()
    assert (run.run_id, run.job_name, run.status.value) == (tenant["runId"], "provision_tenant", "QUEUED")
    assert run.tags["tenant_key"] == key
    assert [row[1:3] for row in audit(admin, tenant["id"])] == [("cli", "create_tenant"), ("cli", "start")]


def test_without_dagster_the_wish_is_recorded_and_the_guard_makes_up_for_the_rest(
    terminal: Terminal, company: HeardCompany, key: str
) -> None:
    company.create(key)

    said = terminal("tenant", "provision", key, "--reason", "ordered today", "--json")

    assert said.code == 0
    assert "not launched yet" in said.err
    execution = company.desk.ledger.execution(said.document["workflowId"])
    assert str(execution.id) == said.document["runId"]
    assert company.settle(execution).waiting_until is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("tenant", "list"),
        ("tenant", "show", "acme"),
        ("tenant", "provision", "acme"),
        ("tenant", "create", "acme", *WHO, "--plan", "free"),
        ("workflow", "list"),
        ("workflow", "show", "provision-tenant-x"),
        ("workflow", "signal", "provision-tenant-x", "provisioningCancelled"),
    ],
)
def test_the_database_is_away(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("TENANT_PIPELINES_DATABASE_URL", "postgresql://control_plane:fake-secret-database@127.0.0.1:1/a")
    impatient = partial(_impatient, database.Database)
    monkeypatch.setattr(database, "Database", impatient)

    said = terminal(*arguments, "--json")

    assert (said.code, said.out) == (3, "")
    assert "The ledger's database does not answer" in said.err


def _impatient(make: type[database.Database], url: str, *, patience: float) -> database.Database:
    assert patience > 0.2
    return make(url, patience=0.2)


def test_every_missing_setting_is_named(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENANT_PIPELINES_DATABASE_URL")
    monkeypatch.delenv("TENANT_PIPELINES_STRIPE_KEY")

    said = terminal("tenant", "list", "--json")

    assert (said.code, said.out) == (2, "")
    assert "TENANT_PIPELINES_DATABASE_URL: missing" in said.err
    assert "TENANT_PIPELINES_STRIPE_KEY: missing" in said.err
