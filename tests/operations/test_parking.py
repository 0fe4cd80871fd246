"""Looking after parked executions: who is looked at, who is woken, and that nobody waits for somebody else's system."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import uuid4

import psycopg
import pytest

from sandbox.postgres import Server
from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.ports import Look
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.domain.workflow import PROVISION, Execution, Side, State
from tenant_pipelines.ledger import waking
from tenant_pipelines.ledger.named_sql import all_queries
from tenant_pipelines.ledger.waking import Waiting
from tenant_pipelines.operations import parking
from tenant_pipelines.operations.parking import Looks, Passed, seconds_to_next_look, wants_look
from tenant_pipelines.operations.reconcile import OVERDUE, Push, push_for
from tenant_pipelines.operations.runs import RunState
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.decisions import LONGEST_BETWEEN_LOOKS, between_looks
from tests.fakes.company import Company
from tests.fakes.systems import Systems, world

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TERRAFORM, ROLLOUT = "provisioning_infrastructure", "deploying_application"


def parked(**changed: object) -> Execution:
    """An execution that has waited for a minute, and is due."""
    execution = Execution(
        id=uuid4(),
        workflow_id="provision-tenant-x",
        workflow_type=PROVISION,
        tenant_id=uuid4(),
        tenant_key="acme",
        tier=Tier.SILO,
        generation=1,
        state=State.FORWARD,
        run_id=uuid4(),
        step=TERRAFORM,
        progress=45,
        message="Terraform plans",
        started_at=NOW,
        updated_at=NOW,
        parked_step=TERRAFORM,
        parked_side=Side.DO,
        parked_at=NOW - timedelta(minutes=1),
        wake_at=NOW,
    )
    return replace(execution, **changed)  # type: ignore[arg-type]


def waiting(execution: Execution | None = None, **changed: object) -> Waiting:
    """The same with what a look needs: every ten seconds, for another half hour."""
    given = Waiting(execution or parked(), True, {"run_id": "run-1"}, {}, 10.0, NOW + timedelta(minutes=30))
    return replace(given, **changed)  # type: ignore[arg-type]


# Decisions


@pytest.mark.parametrize(
    ("every", "waited", "expected"),
    [(1.0, 0.0, 1.0), (1.0, 15.0, 1.5), (10.0, 60.0, 10.0), (1.0, 3600.0, LONGEST_BETWEEN_LOOKS), (60.0, 3600.0, 60.0)],
)
def test_looks_become_rarer_the_longer_it_takes(every: float, waited: float, expected: float) -> None:
    assert between_looks(every, waited=waited) == expected


def test_what_goes_on_outside_is_looked_at_first() -> None:
    assert wants_look(waiting(), PROVISIONING, NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"token": None},
        {"look_every": None},
        {"look_until": None},
        {"look_until": NOW + timedelta(seconds=10)},
        {"execution": parked(cancel_requested_by="ann")},
        {"execution": parked(parked_step="provisioning_storage")},
        {"execution": parked(parked_step="a step of another release")},
    ],
    ids=["tried anew", "handed over", "handed over too", "its last look", "cancelled", "no look side", "unknown"],
)
def test_everything_else_is_woken(changed: dict[str, object]) -> None:
    assert not wants_look(replace(waiting(), **changed), PROVISIONING, NOW)  # type: ignore[arg-type]


def test_an_undo_goes_on_whether_cancelled_or_not() -> None:
    undo = parked(parked_side=Side.UNDO, state=State.ROLLING_BACK, cancel_requested_by="ann")

    assert wants_look(waiting(undo), PROVISIONING, NOW)


def test_the_next_look_is_never_later_than_the_last_one_within_the_steps_time() -> None:
    ends_soon = waiting(look_until=NOW + timedelta(seconds=13))

    assert seconds_to_next_look(waiting(), NOW) == 10.0
    assert seconds_to_next_look(ends_soon, NOW) == 3.0
    assert seconds_to_next_look(waiting(look_until=NOW), NOW) == 0.0


@pytest.mark.parametrize("state", [State.FORWARD, State.ROLLING_BACK])
@pytest.mark.parametrize("run", [RunState.ENDED, RunState.ALIVE, RunState.MISSING])
@pytest.mark.parametrize(("late", "push"), [(0.0, Push.NOTHING), (OVERDUE, Push.WAKE)])
def test_the_guard_leaves_a_parked_one_to_the_waker_for_a_while(
    state: State, run: RunState, late: float, push: Push
) -> None:
    assert push_for(parked(state=state), run, NOW + timedelta(seconds=late)) is push


# The looks


@pytest.fixture
def company(database: str, systems: Systems) -> Iterator[Company]:
    made = Company(database, world(systems), retries=dict.fromkeys(Group, Retries(3, 600, 600, 20, 3600)))
    yield made
    made.close()


@pytest.fixture
def systems() -> Systems:
    return Systems()


@contextmanager
def looks_of(company: Company) -> Iterator[Looks]:
    with Looks(company.desk, company.world) as looks:
        yield looks


def park(company: Company, systems: Systems, database: str, *keys: str, operation: str = "apply") -> list[Execution]:
    """As many as there are keys, all due."""
    systems.fail(operation, Pending("It goes on", {"run_id": "run-1"}, 60.0), times=len(keys))
    found = [company.provision(key, plan="enterprise" if operation == "apply" else "free") for key in keys]
    assert all(execution.parked for execution in found)
    make_due(database)
    return found


def make_due(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("update engine.executions set wake_at = now() where parked_at is not null")


def test_a_system_that_does_not_answer_holds_up_nobody_else(company: Company, systems: Systems, database: str) -> None:
    stuck = Event()
    slow = [f"slow{n}" for n in range(parking.AT_ONCE)]
    park(company, systems, database, *slow)
    park(company, systems, database, "quick", operation="deploy")
    looked: list[str] = []

    def before(operation: str) -> None:
        if operation == "look":
            looked.append(operation)
            if len(looked) <= len(slow):
                stuck.wait(20)

    systems.before = before
    with looks_of(company) as looks:
        assert looks.pass_over() == Passed(woken=0, looked=len(slow) + 1, put_off=0)
        until = company.desk.clock.monotonic() + 10
        while not company.execution(newest(company, "quick")).waiting_until:
            assert company.desk.clock.monotonic() < until
        assert len(company.runs.launched) == len(slow) + 2
        stuck.set()


def newest(company: Company, key: str) -> Execution:
    return company.desk.ledger.execution(f"provision-tenant-{company.tenant(key).id}")


def test_a_system_that_does_not_answer_is_asked_by_one_at_a_time(
    company: Company, systems: Systems, database: str
) -> None:
    park(company, systems, database, *(f"acme{n}" for n in range(4)))
    systems.looks = [Outage.refused("Terraform", "127.0.0.1", 1)] * 9
    with looks_of(company) as looks:
        assert looks.pass_over().looked == 4
        looks.rest()
        make_due(database)

        assert looks.pass_over() == Passed(woken=0, looked=1, put_off=3)

        looks.rest()
        systems.looks = [Look.GOES_ON] * 9
        make_due(database)
        looks.pass_over()
        looks.rest()
        make_due(database)
        assert looks.pass_over().looked == 4
    assert len(company.runs.launched) == 4


def test_what_is_being_looked_at_is_looked_at_by_nobody_else(company: Company, systems: Systems, database: str) -> None:
    park(company, systems, database, "acme")
    go_on = Event()
    systems.before = lambda operation: None if operation != "look" else (go_on.wait(20), None)[1]
    with looks_of(company) as one, looks_of(company) as other:
        assert one.pass_over().looked == 1

        assert other.pass_over() == Passed(0, 0, 0)
        make_due(database)
        assert one.pass_over() == Passed(0, 0, put_off=1)

        go_on.set()
    assert len(systems.looked) == 1


def test_what_goes_wrong_is_told_by_the_next_pass_and_stops_nobody(
    company: Company, systems: Systems, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    park(company, systems, database, "acme", "umbrella")
    launch = company.runs.launch
    failed: list[object] = []

    def fail_once(given: object) -> None:
        if not failed:
            failed.append(given)
            raise ConnectionError
        launch(given)  # type: ignore[arg-type]

    monkeypatch.setattr(company.runs, "launch", fail_once)
    with looks_of(company) as looks:
        looks.pass_over()
        looks.rest()

        with pytest.raises(ExceptionGroup) as told:
            looks.pass_over()

        assert [type(error) for error in told.value.exceptions] == [ConnectionError]
        looks.pass_over()
    assert sorted(bool(newest(company, key).waiting_until) for key in ("acme", "umbrella")) == [False, True]


def test_without_a_world_everything_that_is_due_is_woken(company: Company, systems: Systems, database: str) -> None:
    park(company, systems, database, "acme")

    with Looks(company.desk, None) as looks:
        assert looks.pass_over().woken == 1

    assert systems.looked == []


# A thousand of them


def test_a_thousand_parked_ones_are_rows_and_a_pass_over_them_takes_one_statement(
    company: Company, systems: Systems, database: str, postgres: Server
) -> None:
    [one] = park(company, systems, database, "acme")
    with psycopg.connect(database, autocommit=True) as admin:
        multiply(admin, one, 999)
        admin.execute("update engine.executions set wake_at = now() + interval '1 hour'")
        admin.execute("analyze engine.executions")
        plan = "\n".join(row[0] for row in admin.execute("explain " + _due_query()))
        began = company.desk.clock.monotonic()
        with looks_of(company) as looks:
            assert looks.pass_over() == Passed(0, 0, 0)
        took = company.desk.clock.monotonic() - began

    assert "executions_parked" in plan
    assert took < 1


def test_a_thousand_that_are_due_at_once_are_all_looked_at(company: Company, systems: Systems, database: str) -> None:
    [one] = park(company, systems, database, "acme")
    with psycopg.connect(database, autocommit=True) as admin:
        multiply(admin, one, 999)
        admin.execute("update engine.executions set wake_at = now()")
    systems.looks = [Look.GOES_ON] * 1000

    with looks_of(company) as looks:
        until = company.desk.clock.monotonic() + 30
        while len(systems.looked) < 1000:
            looks.pass_over()
            assert company.desk.clock.monotonic() < until

    assert len(company.runs.launched) == 1
    assert waking.due(company.database, limit=10) == []


def multiply(admin: psycopg.Connection, one: Execution, times: int) -> None:
    """As many more tenants that wait as this one does."""
    admin.execute(
        "create temporary table more as select gen_random_uuid() as id, n from generate_series(1, %s) n", [times]
    )
    admin.execute(
        "insert into tenant_management.tenants (id, key, name, status, tier, domains)"
        " select id, 'more' || n, 'More', 2, 'silo', '{}' from more"
    )
    admin.execute("create temporary table parked as select * from engine.executions where id = %s", [one.id])
    admin.execute(
        "insert into engine.executions select (p).* from (select jsonb_populate_record(parked,"
        " jsonb_build_object('id', m.id, 'tenant_id', m.id, 'run_id', m.id)) as p from parked, more m) x"
    )
    admin.execute("insert into engine.runs (run_id, execution_id, kind, number) select id, id, 'forward', 1 from more")
    admin.execute("create temporary table waits as select * from engine.steps where state = 'waiting'")
    admin.execute(
        "insert into engine.steps select (p).* from (select jsonb_populate_record(waits,"
        " jsonb_build_object('execution_id', m.id)) as p from waits, more m) x"
    )
    admin.execute("insert into engine.placements select m.id, p.names from more m, engine.placements p")


def _due_query() -> str:
    return all_queries()["due_parked"].replace("%(limit)s", "100").rstrip(";")
