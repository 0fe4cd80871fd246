"""A commit whose answer is lost, at every place there is: nothing is done twice and nothing is forgotten.

The database may go away between carrying out a commit and saying so. What was asked is then asked again, and has to
recognise its own work.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg.rows import DictRow

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, all_of, assert_sound, audit, new_key

Answer = TypeVar("Answer")

COMMIT = psycopg.Connection.commit
RUN = Transaction._run
COMMITTED_BY_THEMSELVES = {"begin_step", "finish_attempt"}
"""Where they are sent without a transaction around them."""


@contextmanager
def losing(monkeypatch: pytest.MonkeyPatch, wanted: int, *, carried_out: bool) -> Iterator[list[int]]:
    """The commit with that number (from 0) is carried out, or not, and its answer is lost with the connection."""
    count = [0]

    def answered(connection: psycopg.Connection[Any], act: Callable[[], Answer]) -> Answer:
        count[0] += 1
        if count[0] - 1 != wanted:
            return act()
        if carried_out:
            act()
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def commit(connection: psycopg.Connection) -> None:
        if _within_a_transaction(connection):
            answered(connection, lambda: COMMIT(connection))
        else:
            COMMIT(connection)

    def run(tx: Transaction, query: str, values: Mapping[str, object]) -> psycopg.Cursor[DictRow]:
        if query not in COMMITTED_BY_THEMSELVES or _within_a_transaction(tx._connection):
            return RUN(tx, query, values)
        return answered(tx._connection, lambda: RUN(tx, query, values))

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "commit", commit)
        patch.setattr(Transaction, "_run", run)
        yield count


def _within_a_transaction(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS


def everywhere(
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], Execution],
    *,
    first: int = 0,
    step: int = 1,
    carried_out: bool = True,
) -> Iterator[tuple[int, Execution]]:
    """Do it again and again, each time losing a later commit, until there is none left to lose."""
    for wanted in itertools.count(first, step):
        with losing(monkeypatch, wanted, carried_out=carried_out) as count:
            execution = act()
        if count[0] <= wanted:
            return
        yield wanted, execution


@pytest.mark.parametrize(("carried_out", "step"), [(True, 1), (False, 5)], ids=["carried out", "not carried out"])
def test_a_provisioning_completes(
    company: HeardCompany, monkeypatch: pytest.MonkeyPatch, admin: psycopg.Connection, carried_out: bool, step: int
) -> None:
    def act() -> Execution:
        tenant = company.create(new_key(), plan="free")
        execution = start(company.desk, tenant.id, TESTER)
        return company.settle(execution)

    number = -1
    for number, execution in everywhere(monkeypatch, act, carried_out=carried_out, step=step):
        assert execution.generation == 1, number
        assert [row[2] for row in audit(admin, execution.tenant_id)] == ["create_tenant", "start"], number
        assert company.desk.ledger.tenant(execution.tenant_id).status is Status.ACTIVE
        assert [launch.kind for launch in company.runs.launched if launch.execution.id == execution.id] == ["forward"]
        signal(company.desk, execution.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
        closed = assert_sound(company, execution)
        assert closed.state is State.COMPLETED
        events = [(event["type"], event["step"]) for event in company.desk.ledger.history(closed.id)]
        done = [step for kind, step in events if kind == "ActivityTaskCompleted"]
        assert len(done) == len(set(done)), number
    assert number >= 25


def test_a_failure_is_rolled_back_and_said_once(
    company: HeardCompany, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> Execution:
        systems.script.clear()
        systems.fail("user", Answered("Keycloak", "said no"), times=2)
        systems.fail("remove organization", Answered("Keycloak", "said no"), times=2)
        return company.settle(company.provision(new_key(), plan="free"))

    number = -1
    for number, execution in everywhere(monkeypatch, act, first=8, step=2):
        closed = assert_sound(company, execution)
        assert (closed.state, closed.failed_step) == (State.FAILED, "creating_admin_user"), number
        assert systems.of(closed.tenant_key) == set(), number
    assert number > 25


def test_a_failure_past_the_pivot_is_said_once(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act() -> Execution:
        systems.script.clear()
        systems.fail("mail", Answered("Novu", "said no"), times=2)
        systems.fail("app plane", Answered("App plane", "said no"), times=2)
        return company.settle(company.provision(new_key(), plan="free"))

    number = -1
    for number, execution in everywhere(monkeypatch, act, first=20):
        closed = assert_sound(company, execution)
        assert (closed.state, closed.failed_step) == (State.FAILED, "provisioning_app_plane"), number
        owed = "select step from engine.owed where tenant_id = %s order by step"
        assert all_of(admin, owed, closed.tenant_id) == [("provisioning_app_plane",), ("sending_notifications",)]
    assert number > 30


def test_a_cancel_is_carried_out(company: HeardCompany, systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> Execution:
        key = new_key()

        def cancel(seen: str) -> None:
            if seen == "user":
                tenant = company.tenant(key)
                signal(company.desk, tenant.id, "provisioningCancelled", {}, key="1", claimant=TESTER)

        systems.before = cancel
        return company.settle(company.provision(key, plan="free"))

    number = -1
    for number, execution in everywhere(monkeypatch, act):
        assert assert_sound(company, execution).state is State.CANCELLED, number
        due = [line for line in company.heard if line.run_id == execution.id and line.text.startswith("due: ")]
        assert len(due) == 1, number
        assert systems.of(execution.tenant_key) == set(), number
    assert number > 10


@pytest.mark.parametrize(("carried_out", "step"), [(True, 1), (False, 5)], ids=["carried out", "not carried out"])
def test_a_workflow_that_parks_goes_on_once(
    company: HeardCompany, systems: Systems, monkeypatch: pytest.MonkeyPatch, carried_out: bool, step: int
) -> None:
    company.wait_in_worker = 0.0
    retries = dict.fromkeys(Group, Retries(2, 0.01, 0.02, 2.0, 30.0))

    def act() -> Execution:
        systems.script.clear()
        systems.fail("bucket", Answered("S3", "said no"))
        systems.fail("deploy", Pending("rollout", {"phase": "rollout"}, 0.01))
        systems.calls.clear()
        company.retries = retries
        return company.settle(company.provision(new_key(), plan="free"))

    number = -1
    for number, execution in everywhere(monkeypatch, act, first=10, step=step, carried_out=carried_out):
        launched = [launch.parked for launch in company.runs.launched if launch.execution.id == execution.id]
        assert launched == [None, "provisioning_storage", "deploying_application"], number
        assert (systems.calls.count("bucket"), systems.calls.count("deploy")) == (2, 2), number
        signal(company.desk, execution.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
        assert assert_sound(company, execution).state is State.COMPLETED, number
        if number > 30:  # past both waits
            break
    assert number > 30
