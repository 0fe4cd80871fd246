"""Who may go on with a workflow past the point of no return, and with what."""

import pytest

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tenant_pipelines.ledger.resuming import resume
from tenant_pipelines.operations.signal import signal
from tests.fakes.company import TESTER
from tests.scenarios.test_past_pivot import CUSTOMER, SUBSCRIPTION, assert_one_of_each
from tests.world.steps import once, raising
from tests.world.world import World


@pytest.fixture(autouse=True)
def quick(world: World) -> None:
    world.plan = "free"
    world.deploy_to("docker")


def refusal(world: World, workflow_id: str | None = None) -> Code:
    with pytest.raises(Refused) as refused:
        resume(world.database, workflow_id or world.newest.workflow_id, catalogue=world.catalogue, claimant=TESTER)
    return refused.value.code


def test_a_workflow_that_nobody_knows(world: World) -> None:
    assert refusal(world, "provision-tenant-0") is Code.NOT_FOUND


def test_a_workflow_that_runs_or_is_complete(world: World) -> None:
    world.run()
    assert refusal(world) is Code.BUSY

    assert world.confirm().state is State.COMPLETED
    assert refusal(world) is Code.WRONG_STATE


def test_a_workflow_that_was_rolled_back(world: World) -> None:
    world.break_("creating_idp_organization", "keycloak", "POST /admin/realms/*/organizations", "server_error")
    assert world.run().state is State.FAILED

    assert refusal(world) is Code.WRONG_STATE
    assert world.the_tenant.status is Status.PROVISION_FAILED


def test_the_steps_that_are_done_are_not_done_again(world: World) -> None:
    world.break_(CUSTOMER.step, CUSTOMER.system, CUSTOMER.operation, "server_error")
    failed = world.run()

    resumed = world.resume()

    begun = [e["step"] for e in world.desk.ledger.history(resumed.id) if e["type"] == "ActivityTaskStarted"]
    assert begun == [step.name for step in world.catalogue.steps if step.number > 10]
    assert world.desk.ledger.first_open_step(failed.id, world.catalogue) == CUSTOMER.step


def test_a_workflow_that_fails_twice_uses_the_same_keys_a_third_time(world: World) -> None:
    """What the first one has lost may still take effect when the third one begins."""
    world.break_(SUBSCRIPTION.step, SUBSCRIPTION.system, SUBSCRIPTION.operation, "late_effect")
    assert world.run().failed_step == SUBSCRIPTION.step
    world.resume_with(lambda: world.when(SUBSCRIPTION.step, before=raising(lambda: RuntimeError("again"))))
    assert world.newest.failed_step == SUBSCRIPTION.step

    world.resume()

    assert_one_of_each(world, "late_effect")
    assert world.newest.generation == 3


def test_a_cancelled_workflow_is_gone_on_with(world: World) -> None:
    def cancel() -> None:
        signal(world.desk, world.the_tenant.id, "provisioningCancelled", {}, key="1", claimant=TESTER)

    world.when(SUBSCRIPTION.step, before=once(cancel))
    assert world.run().state is State.CANCELLED
    assert world.the_tenant.status is Status.ACTIVE
    assert SUBSCRIPTION.step in world.desk.ledger.owed(world.the_tenant.id)

    world.resume()

    assert world.confirm().state is State.COMPLETED
    assert_one_of_each(world)
    assert world.desk.ledger.owed(world.the_tenant.id) == []
