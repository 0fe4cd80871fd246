"""A workflow on its way back: whatever was begun is undone, and the ledger says what is not."""

from operator import attrgetter

import pytest

from tenant_pipelines.domain.failures import Answered, InfrastructureFailed, Outage, ResourceAlreadyExists
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.operations.reconcile import reconcile
from tenant_pipelines.operations.signal import signal
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.step import Step
from tests.fakes.company import TESTER, Company
from tests.fakes.runs import Killed
from tests.fakes.systems import Systems

OPERATIONS = {
    "creating_idp_organization": "organization",
    "creating_admin_user": "user",
    "provisioning_database": "schema",
    "provisioning_storage": "bucket",
    "provisioning_infrastructure": "apply",
    "deploying_application": "deploy",
    "configuring_dns": "dns",
    "creating_resources": "resources",
}
BEFORE_PIVOT = [step for step in PROVISIONING.before_pivot if step.name in OPERATIONS]


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("step", BEFORE_PIVOT, ids=attrgetter("name"))
def test_a_failure_before_the_pivot_leaves_nothing(company: Company, systems: Systems, step: Step, after: bool) -> None:
    name = step.name
    company.provision("neighbour")
    before = systems.of("neighbour")
    systems.fail(OPERATIONS[name], Answered("It", "failed"), after=after, times=9)

    execution = company.settle(company.provision("acme"))

    assert execution.state is State.FAILED
    assert execution.failed_step == name
    assert execution.error is not None
    assert execution.error.startswith(f"PROVISION_FAILED: {PROVISIONING.step(name).symptom}")
    assert systems.of("acme") == set()
    assert systems.of("neighbour") == before
    tenant = company.tenant("acme")
    assert tenant.status is Status.PROVISION_FAILED
    assert tenant.metadata["failedAt"] == name
    assert tenant.metadata["provisioningError"] == execution.error
    assert "schemaName" not in tenant.metadata
    assert "requiresManualCleanup" not in tenant.metadata
    assert [marker for marker, _, _ in company.journal.lines].count(Marker.FAIL) == 1


def test_a_permanent_failure_is_not_tried_again(company: Company, systems: Systems) -> None:
    systems.fail("apply", InfrastructureFailed("Terraform", "run run-1 ended errored"), times=9)

    execution = company.settle(company.provision("acme"))

    assert systems.calls.count("apply") == 1
    assert execution.error_code == "InfrastructureFailed"


def test_another_pass_has_the_time_of_a_first_one_however_long_the_pause(company: Company, systems: Systems) -> None:
    """The pause is longer than all attempts may take, as it is in the product for the database and the store."""
    company.undo_retry_every = 1.0
    assert company.retries[Group.STORAGE].all_attempts < company.undo_retry_every
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=2)
    systems.fail("remove bucket", Answered("S3", "said no"), times=2)

    execution = company.settle(company.provision("acme"))

    assert (execution.state, systems.of("acme")) == (State.FAILED, set())
    assert systems.calls.count("remove bucket") == 3


def test_a_lost_call_is_looked_for_once_more_before_the_workflow_closes(company: Company, systems: Systems) -> None:
    company.sweep_after = 2.0  # longer than it can take from the call to the look
    systems.fail("user", Outage.timed_out("Keycloak", "127.0.0.1", 8180), times=99)
    late: list[str] = []

    def land_after_the_undo_has_looked(operation: str) -> None:
        if operation == "remove organization" and not late:
            late.append(operation)
            systems.script["user"].clear()
            mark = company.tenant("acme").mark
            systems.objects[ObjectRef("keycloak", "user", "acme", "user-acme")] = mark

    systems.before = land_after_the_undo_has_looked

    execution = company.settle(company.provision("acme"))

    assert late
    assert execution.state is State.FAILED
    assert systems.of("acme") == set()
    assert systems.calls.count("remove user") == 2


def test_an_undo_that_fails_once_is_done_later(company: Company, systems: Systems) -> None:
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=9)
    systems.fail("remove bucket", Answered("S3", "said no"), times=2)

    execution = company.settle(company.provision("acme"))

    assert execution.state is State.FAILED
    assert systems.of("acme") == set()
    assert company.desk.ledger.left_behind(execution.tenant_id) == []


def test_an_undo_that_fails_for_ever_leaves_the_exact_list(company: Company, systems: Systems) -> None:
    company.undo_retry_for = 0.3
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=9)
    systems.fail("remove bucket", Answered("S3", "said no"), times=999)

    execution = company.settle(company.provision("acme"))

    left = company.desk.ledger.left_behind(execution.tenant_id)
    assert [(thing.system, thing.kind, thing.name, thing.step) for thing in left] == [
        ("s3", "bucket", "tenant-acme", "provisioning_storage")
    ]
    assert systems.of("acme") == {"s3 bucket"}
    tenant = company.tenant("acme")
    assert tenant.status is Status.PROVISION_FAILED
    assert tenant.metadata["requiresManualCleanup"] is True
    assert execution.result is not None
    assert execution.result["leftBehind"] == [thing.as_json() for thing in left]


def test_a_system_that_cannot_even_be_asked_lists_what_may_be_there(company: Company, systems: Systems) -> None:
    company.undo_retry_for = 0.01
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=9)
    systems.fail("remove access", Outage.refused("S3", "127.0.0.1", 9000), times=999)
    systems.fail("find", Outage.refused("S3", "127.0.0.1", 9000), times=999)

    execution = company.settle(company.provision("acme"))

    left = company.desk.ledger.left_behind(execution.tenant_id)
    assert {(thing.kind, thing.name) for thing in left} == {("bucket", "tenant-acme"), ("user", "tenant-acme")}


def test_a_conflict_is_reported_with_its_way_out(company: Company, systems: Systems) -> None:
    systems.fail(
        "bucket", ResourceAlreadyExists("S3", "bucket tenant-acme exists and is not ours", way_out="take another key")
    )

    execution = company.settle(company.provision("acme"))

    assert "(ResourceAlreadyExists, not retried).\nWay out: take another key" in (execution.error or "")


@pytest.mark.parametrize("operation", ["customer", "subscription", "app plane"])
def test_after_the_pivot_nothing_is_rolled_back(company: Company, systems: Systems, operation: str) -> None:
    systems.fail(operation, Answered("It", "failed"), times=9)

    execution = company.settle(company.provision("acme"))

    tenant = company.tenant("acme")
    assert execution.state is State.FAILED
    assert tenant.status is Status.ACTIVE
    assert company.desk.ledger.owed(tenant.id) == [execution.failed_step]
    assert not any(call.startswith("remove") for call in systems.calls)
    assert not (execution.error or "").startswith("PROVISION_FAILED")


def test_a_mail_that_cannot_be_sent_is_owed_and_fails_nothing(company: Company, systems: Systems) -> None:
    systems.fail("mail", Answered("Novu", "said no"), times=9)

    execution = company.provision("acme")

    signal(company.desk, execution.tenant_id, "appPlaneProvisioned", {"success": True}, key="1", claimant=TESTER)
    assert company.execution(execution).state is State.COMPLETED
    assert company.desk.ledger.owed(execution.tenant_id) == ["sending_notifications"]


def test_the_guard_starts_the_rollback_that_the_hook_could_not(company: Company, systems: Systems) -> None:
    company.runs.hooks = False
    systems.fail("bucket", Answered("S3", "said no"), times=9)

    execution = company.provision("acme")
    assert execution.state is State.ROLLBACK_DUE
    closed = company.settle(execution)

    assert closed.state is State.FAILED
    assert systems.of("acme") == set()


def test_a_launch_that_was_lost_is_made_up_for(company: Company, systems: Systems) -> None:
    company.runs.lost_launches = 1

    execution = company.settle(company.provision("acme"))

    assert execution.waiting_until is not None
    assert company.tenant("acme").status is Status.ACTIVE


@pytest.mark.parametrize("operation", OPERATIONS.values())
def test_a_lost_worker_is_continued_where_it_stopped(company: Company, systems: Systems, operation: str) -> None:
    died: list[str] = []

    def die_once(seen: str) -> None:
        if seen == operation and not died:
            died.append(seen)
            raise Killed

    systems.before = die_once

    execution = company.settle(company.provision("acme"))

    assert died
    assert company.tenant("acme").status is Status.ACTIVE
    assert execution.id == company.runs.launched[0].run_id
    assert len(company.runs.launched) == 2
    assert systems.calls.count("organization") == (2 if operation == "organization" else 1)


def test_a_step_that_loses_its_worker_three_times_fails(company: Company, systems: Systems) -> None:
    def die(seen: str) -> None:
        if seen == "bucket":
            raise Killed

    systems.before = die

    execution = company.settle(company.provision("acme"))

    assert execution.state is State.FAILED
    assert execution.error_code == "WorkerLost"
    assert execution.failed_step == "provisioning_storage"
    assert systems.calls.count("bucket") == 3
    assert systems.of("acme") == set()


def test_a_rollback_that_loses_its_worker_is_finished(company: Company, systems: Systems) -> None:
    died: list[str] = []

    def die_once(seen: str) -> None:
        if seen == "remove schema" and not died:
            died.append(seen)
            raise Killed

    systems.before = die_once
    systems.fail("bucket", Answered("S3", "said no"), times=9)

    execution = company.settle(company.provision("acme"))

    assert died
    assert execution.state is State.FAILED
    assert systems.of("acme") == set()


def test_what_has_been_undone_forgets_the_workers_lost_before_it(company: Company, systems: Systems) -> None:
    """Else a rollback that loses a worker now and then would pause for longer and longer."""
    died: list[str] = []

    def die_at_each(seen: str) -> None:
        if seen.startswith("remove") and seen not in died:
            died.append(seen)
            raise Killed

    systems.fail("deploy", Answered("Kubernetes", "said no"), times=9)
    systems.before = die_at_each

    execution = company.settle(company.provision("acme"))

    assert len(died) > 3
    assert execution.losses == 0
    assert systems.of("acme") == set()


def test_a_cancel_rolls_back_and_ends_cancelled(company: Company, systems: Systems) -> None:
    def cancel(seen: str) -> None:
        if seen == "deploy":
            signal(company.desk, company.tenant("acme").id, "provisioningCancelled", {}, key="1", claimant=TESTER)

    systems.before = cancel

    execution = company.settle(company.provision("acme"))

    assert execution.state is State.CANCELLED
    assert systems.of("acme") == set()
    tenant = company.tenant("acme")
    assert tenant.status is Status.PROVISION_CANCELLED
    assert "provisioningError" not in tenant.metadata
    assert "remove resources" not in systems.calls


def test_after_a_rollback_the_tenant_can_be_provisioned_again(company: Company, systems: Systems) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    first = company.settle(company.provision("acme"))

    second = company.execution(start(company.desk, first.tenant_id, TESTER))

    assert second.generation == first.generation + 1
    assert company.tenant("acme").status is Status.ACTIVE
    assert "provisioningError" not in company.tenant("acme").metadata


def test_reconciling_a_healthy_execution_does_nothing(company: Company) -> None:
    execution = company.provision("acme")

    assert reconcile(company.desk, execution, by="guard") == "nothing"
