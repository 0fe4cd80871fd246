"""A cancel that arrives at any moment: the workflow always ends Canceled, and what it leaves is what it says."""

import itertools
from dataclasses import replace

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.reconcile import reconcile
from tenant_pipelines.operations.runs import RunState
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tests.fakes.company import TESTER
from tests.fakes.runs import Killed
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, assert_sound, audit, new_key

OPERATIONS = [
    "organization",
    "user",
    "schema",
    "role",
    "bucket",
    "access",
    "workspace",
    "apply",
    "deploy",
    "dns",
    "resources",
    "customer",
    "subscription",
    "mail",
    "app plane",
]


DONE = "ActivityTaskCompleted"


def cancel(company: HeardCompany, key: str) -> None:
    signal(company.desk, company.tenant(key).id, "provisioningCancelled", {}, key="1", claimant=TESTER)


def assert_cancelled(company: HeardCompany, systems: Systems, execution: Execution) -> None:
    closed = assert_sound(company, execution)
    assert closed.state is State.CANCELLED
    tenant = company.desk.ledger.tenant(execution.tenant_id)
    owed = set(company.desk.ledger.owed(tenant.id))
    if tenant.status is Status.ACTIVE:
        done = {event["step"] for event in company.desk.ledger.history(closed.id) if event["type"] == DONE}
        past = {step.name for step in PROVISIONING.steps[10:]}
        assert owed >= past - done
        assert "keycloak organization" in systems.of(tenant.key)
    else:
        assert systems.of(tenant.key) == set()
        assert owed == set()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_cancel_during_a_call_stops_the_workflow(
    company: HeardCompany, systems: Systems, key: str, operation: str
) -> None:
    def at_this_call(seen: str) -> None:
        if seen == operation:
            systems.before = lambda _: None
            cancel(company, key)

    systems.before = at_this_call

    execution = company.settle(company.provision(key))

    assert_cancelled(company, systems, execution)
    past = OPERATIONS.index(operation) > OPERATIONS.index("resources")
    assert (company.tenant(key).status is Status.ACTIVE) == past


def test_a_cancel_after_any_commit_of_the_run_stops_the_workflow(
    company: HeardCompany, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any transaction, and after any question of the fence: the n-th is followed by the cancel, for every n."""
    finish = psycopg.Connection.commit
    commits = itertools.count()

    def commit(connection: psycopg.Connection) -> None:
        finish(connection)  # which is called after a lone statement too
        if next(commits) == wanted:
            cancel(company, key)

    outcomes = []
    for wanted in itertools.count():
        key, commits = new_key(), itertools.count(-10_000)
        tenant = company.create(key, plan="free")
        monkeypatch.setattr(psycopg.Connection, "commit", commit)
        commits = itertools.count()
        execution = start(company.desk, tenant.id, TESTER)
        monkeypatch.undo()
        if next(commits) <= wanted:
            break
        execution = company.settle(execution)
        assert_cancelled(company, systems, execution)
        outcomes.append(company.tenant(key).status)

    assert len(outcomes) > 30
    assert outcomes == sorted(outcomes, reverse=True)  # first all rolled back, then all ACTIVE
    assert set(outcomes) == {Status.PROVISION_CANCELLED, Status.ACTIVE}


def test_a_cancel_before_the_run_has_come_to_life(company: HeardCompany, systems: Systems, key: str) -> None:
    company.runs.lost_launches = 1
    execution = start(company.desk, company.create(key).id, TESTER)

    cancel(company, key)
    company.settle(execution)

    assert_cancelled(company, systems, execution)
    assert systems.calls == []


def test_a_cancel_while_the_confirmation_is_waited_for_ends_the_workflow_at_once(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    execution = company.provision(key)
    assert execution.waiting_until is not None

    cancel(company, key)

    assert_cancelled(company, systems, execution)
    assert company.desk.ledger.owed(execution.tenant_id) == ["provisioning_app_plane"]
    assert [line.marker for line in company.heard][-2:] == [Marker.SIGNAL, Marker.COMPLETE]


def test_a_cancel_during_the_rollback_of_a_failure_does_not_make_it_anything_but_failed(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    company.runs.hooks = False
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    execution = company.provision(key)
    assert execution.state is State.ROLLBACK_DUE

    cancel(company, key)

    closed = assert_sound(company, company.settle(execution))
    assert (closed.state, closed.failed_step) == (State.FAILED, "provisioning_storage")


def test_a_step_that_fails_after_the_cancel_was_recorded_does_not_turn_it_into_a_failure(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    """A failure may be retried by a sensor; what was cancelled must not be."""

    def cancelled_just_before_the_answer(seen: str) -> None:
        if seen == "bucket":
            cancel(company, key)
            raise Answered("S3", "said no")

    company.retries = {group: replace(policy, attempts=1) for group, policy in company.retries.items()}
    systems.before = cancelled_just_before_the_answer

    execution = company.settle(company.provision(key))

    assert_cancelled(company, systems, execution)
    steps = company.database.run(lambda tx: tx.all("steps_of", execution_id=execution.id))
    assert [row["error_code"] for row in steps if row["state"] == "failed"] == ["SystemError"]


def test_two_cancels_are_one(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    company.runs.lost_launches = 1
    execution = start(company.desk, company.create(key).id, TESTER)

    cancel(company, key)
    cancel(company, key)

    assert [row[2] for row in audit(admin, execution.tenant_id)] == ["create_tenant", "start", "cancel"]


def test_a_closed_workflow_is_not_cancelled(company: HeardCompany, systems: Systems, key: str) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    company.settle(company.provision(key))

    with pytest.raises(Refused, match="is failed: not running") as refused:
        cancel(company, key)

    assert refused.value.code is Code.WRONG_STATE


@pytest.mark.parametrize("operation", ["bucket", "customer"])
def test_a_run_terminated_in_dagster_is_a_cancel_by_dagster_ui(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str, operation: str
) -> None:
    def die(seen: str) -> None:
        if seen == operation:
            raise Killed

    systems.before = die
    execution = company.provision(key)
    systems.before = lambda _: None
    company.runs.states[execution.run_id] = RunState.CANCELLED

    pushed = {reconcile(company.desk, execution, by="run_cancelled") for _ in range(2)}

    assert pushed == {"cancel"}
    assert_cancelled(company, systems, company.settle(execution))
    assert [row[:3] for row in audit(admin, execution.tenant_id)][2:] == [("dagster-ui", "dagster-ui", "cancel")]


def test_a_terminated_run_whose_zombie_activates_the_tenant_in_the_same_moment_is_not_rolled_back(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    """What is decided is decided on the ledger's row, and not on what was read before."""
    read_before: list[Execution] = []

    def read(seen: str) -> None:
        if seen == "resources":
            read_before.append(company.desk.ledger.execution(f"provision-tenant-{company.tenant(key).id}"))

    systems.before = read
    execution = company.provision(key)
    company.runs.states[execution.run_id] = RunState.CANCELLED

    assert reconcile(company.desk, read_before[0], by="run_cancelled") == "cancel"

    assert_cancelled(company, systems, execution)
    assert company.tenant(key).status is Status.ACTIVE
