"""A company on fakes whose ledger is reached as the product reaches it: as the role control_plane, not as superuser."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from sandbox.postgres import Server
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger import endings
from tests.fakes.company import Company
from tests.fakes.systems import Systems, world

PASSWORD = "control-plane-of-a-test"
MADE_BY_THE_FAKES = {
    "schemaName",
    "storageBucket",
    "idpOrganizationId",
    "appPlaneUrl",
    "adminPortalUrl",
    "provisionedAt",
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Line:
    """One line of the journal, with all that the contract wants in it."""

    marker: Marker
    text: str
    tenant_id: UUID
    workflow_id: str
    run_id: UUID
    step: str | None


@dataclass
class Heard:
    """A journal that remembers whole lines."""

    lines: list[Line] = field(default_factory=list)

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        self.lines.append(Line(marker, text, tenant_id, workflow_id, run_id, step))


class HeardCompany(Company):
    """The company of the fakes, with that journal."""

    def __init__(self, dsn: str, systems: Systems) -> None:
        super().__init__(dsn, world(systems))
        self.ear = Heard()
        self.journal = self.ear  # type: ignore[assignment]  # the engine's
        self.desk = self.runs.desk = replace(self.desk, journal=self.ear)

    @property
    def heard(self) -> list[Line]:
        return self.ear.lines


@pytest.fixture(scope="module")
def control_plane(postgres: Server, shared_database: str) -> Iterator[str]:
    """The DSN of the file's database as the role control_plane, who may log in for as long as the file runs."""
    role = sql.Identifier("control_plane")
    with psycopg.connect(shared_database, autocommit=True) as admin:
        admin.execute(sql.SQL("alter role {} login password {}").format(role, sql.Literal(PASSWORD)))
        yield postgres.dsn(shared_database.rpartition("/")[2], user="control_plane", password=PASSWORD)
        admin.execute(sql.SQL("alter role {} nologin password null").format(role))


@pytest.fixture
def admin(shared_database: str) -> Iterator[psycopg.Connection]:
    """The superuser, as an operator at psql."""
    with psycopg.connect(shared_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def systems() -> Systems:
    return Systems()


@pytest.fixture
def company(control_plane: str, systems: Systems) -> Iterator[HeardCompany]:
    made = HeardCompany(control_plane, systems)
    yield made
    made.close()


@pytest.fixture
def key() -> str:
    """The key of a tenant that no other test of this process has."""
    return new_key()


def new_key() -> str:
    """As above, for tests that need several."""
    return f"tenant{next(_numbers)}"


def dump(admin: psycopg.Connection) -> dict[str, list[str]]:
    """Every row of tenants and ledger, to compare before and after."""
    tables = admin.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname in ('tenant_management', 'engine') order by 1"
    ).fetchall()
    rows: dict[str, list[str]] = {}
    for (table,) in tables:
        query = sql.SQL("select to_jsonb(t) from {} t").format(sql.SQL(table))
        rows[table] = sorted(json.dumps(row, sort_keys=True) for (row,) in admin.execute(query))
    return rows


def all_of(admin: psycopg.Connection, query: str, *values: object) -> list[tuple[object, ...]]:
    """The rows of an ad hoc query."""
    return admin.execute(query.encode(), values).fetchall()


def audit(admin: psycopg.Connection, tenant_id: object) -> list[tuple[object, ...]]:
    """Who did what to the tenant, oldest first."""
    return all_of(
        admin,
        "select performed_by, source, action, changes from engine.operator_actions where tenant_id = %s order by id",
        tenant_id,
    )


WRITTEN = {
    State.COMPLETED: [Marker.COMPLETE],
    State.CANCELLED: [Marker.COMPLETE],
    State.FAILED: [Marker.FAIL],
}
"""What the journal says of an end, once."""

STATUSES = {
    State.COMPLETED: {Status.ACTIVE},
    State.CANCELLED: {Status.ACTIVE, Status.PROVISION_CANCELLED},
    State.FAILED: {Status.ACTIVE, Status.PROVISION_FAILED},
}


def assert_sound(company: HeardCompany, execution: Execution) -> Execution:
    """What holds for every closed execution, however it went; answers it as it is now."""
    closed, tenant = company.execution(execution), company.desk.ledger.tenant(execution.tenant_id)
    assert closed.state.closed, closed
    assert tenant.status in STATUSES[closed.state]

    history = company.desk.ledger.history(closed.id)
    assert [event["event_id"] for event in history] == list(range(1, len(history) + 1))
    ends = [event["type"] for event in history if event["type"] in set(endings.EVENTS.values())]
    assert ends == [endings.EVENTS[closed.state]]
    markers = [line.marker for line in company.heard if line.run_id == closed.id]
    assert [marker for marker in markers if marker in {Marker.COMPLETE, Marker.FAIL}] == WRITTEN[closed.state]

    active = tenant.status is Status.ACTIVE
    failed = closed.state is State.FAILED
    expected = {"lastStatusUpdate"} | (MADE_BY_THE_FAKES if active else set())
    expected |= {"provisioningError", "failedAt"} if failed else set()
    left = company.desk.ledger.left_behind(tenant.id)
    expected |= {"requiresManualCleanup"} if left else set()
    assert set(tenant.metadata) - {"stripeCustomerId"} == expected
    assert (closed.error is not None) == failed
    if failed:
        assert (tenant.metadata["provisioningError"], tenant.metadata["failedAt"]) == (closed.error, closed.failed_step)
        assert (closed.error or "").startswith("PROVISION_FAILED: ") != active
    return closed
