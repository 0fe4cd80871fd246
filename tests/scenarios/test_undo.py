"""The way back goes wrong as well: once, in every way; and for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import pytest

from tenant_pipelines.domain.failures import Permanent
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Status, Tier
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.step import Step
from tests.fakes.company import TESTER
from tests.scenarios.matrix import assert_rolled_back
from tests.world.steps import once, put, raising, undo_with
from tests.world.world import World

REMOVING: Sequence[tuple[str, str]] = [
    ("dns", "UPDATE"),
    ("kubernetes", "DELETE /api/v1/namespaces/*"),
    ("terraform", "POST /api/v2/runs"),
    ("s3", "DeleteBucket"),
    ("s3", "DeleteUser"),
    ("postgres", "DROP"),
    ("keycloak", "DELETE /admin/realms/*/users/*"),
    ("keycloak", "DELETE /admin/realms/*/organizations/*"),
]
FAILS_AT = "creating_resources"
UNDONE = [step for step in PROVISIONING.before_pivot if step.has_undo]

LEFT: Mapping[str, set[tuple[str, str]]] = {
    "creating_idp_organization": {("keycloak", "organization")},
    "creating_admin_user": {("keycloak", "user")},
    "provisioning_database": {("postgres", "schema"), ("postgres", "role")},
    "provisioning_storage": {("s3", "bucket"), ("s3", "user")},
    "provisioning_infrastructure": {("terraform", "workspace"), ("terraform", "resource")},
    "deploying_application": {("kubernetes", "namespace")},
    "configuring_dns": {("dns", "record")},
    "creating_resources": {("postgres", "row")},
}


def refuse() -> Permanent:
    """What an undo meets that cannot be done."""
    return Permanent("It", "says no")


def fail_then(world: World, *arm: tuple[str, str, str]) -> None:
    """Let everything be made, then the step fail, and these removals of the rollback go wrong once."""

    def break_all() -> None:
        for system, operation, mode in arm:
            world.systems.break_(system, operation, mode, times=1, tenant=world.key)
        raise RuntimeError("so that all of it is undone")

    world.fail_at_once(FAILS_AT)
    world.when(FAILS_AT, after=break_all)


@pytest.mark.parametrize("mode", ["refuse", "server_error", "half_done", "timeout_after"])
def test_removals_that_fail_once_are_done_all_the_same(world: World, mode: str) -> None:
    fail_then(world, *((system, operation, mode) for system, operation in REMOVING))
    world.retries = {group: replace(policy, one_attempt=1.2) for group, policy in world.retries.items()}

    execution = world.run()

    assert {system: world.systems.left_to_break(system) for system, _ in REMOVING} == dict.fromkeys(
        (system for system, _ in REMOVING), 0
    )
    assert_rolled_back(world, execution, step=FAILS_AT, says="unexpected RuntimeError")


def test_a_container_whose_removal_fails_once_is_removed_all_the_same(world: World) -> None:
    world.deploy_to("docker")
    fail_then(world, ("docker", "DELETE /containers/*", "timeout_after"))
    world.retries = dict(world.retries) | {Group.DEPLOYMENT: replace(world.retries[Group.DEPLOYMENT], one_attempt=1)}

    execution = world.run()

    assert world.systems.left_to_break("docker") == 0
    assert_rolled_back(world, execution, step=FAILS_AT, says="unexpected RuntimeError")


def test_every_undo_that_could_not_be_done_is_done_in_the_next_pass(world: World) -> None:
    fail_then(world)
    world.catalogue = put(
        world.catalogue, *(undo_with(world.catalogue.step(s.name), before=once(raising(refuse))) for s in UNDONE)
    )

    execution = world.run()

    assert_rolled_back(world, execution, step=FAILS_AT, says="unexpected RuntimeError")
    failed = [e["step"] for e in world.desk.ledger.history(execution.id) if e["type"] == "CompensationFailed"]
    assert failed == [step.name for step in reversed(UNDONE)]


def listed(world: World, execution: Execution) -> dict[str, set[tuple[str, str]]]:
    """What is listed as left behind, by step."""
    found: dict[str, set[tuple[str, str]]] = {}
    for thing in world.desk.ledger.left_behind(execution.tenant_id):
        found.setdefault(thing.step, set()).add((thing.system, thing.kind))
    return found


@pytest.mark.parametrize("step", UNDONE, ids=attrgetter("name"))
def test_an_undo_that_fails_for_ever_leaves_exactly_what_is_listed(world: World, step: Step) -> None:
    world.deploy_to("kubernetes" if step.name == "deploying_application" else "docker")  # which is quicker
    world.plan = "enterprise" if not step.for_tier(Tier.POOLED) else "free"
    fail_then(world)
    world.undo_retry_for = 0.3
    world.catalogue = put(world.catalogue, undo_with(world.catalogue.step(step.name), before=raising(refuse)))

    execution = world.run()

    assert execution.state is State.FAILED
    assert execution.failed_step == FAILS_AT
    assert listed(world, execution) == {step.name: LEFT[step.name]}
    systems = {system for system, _ in LEFT[step.name]}
    assert {thing.system for thing in world.things} == systems
    tenant = world.the_tenant
    assert tenant.status is Status.PROVISION_FAILED
    assert tenant.metadata["requiresManualCleanup"] is True
    assert execution.result is not None
    assert execution.result["leftBehind"] == [t.as_json() for t in world.desk.ledger.left_behind(tenant.id)]
    assert all(step.undo_symptom in thing["reason"] for thing in execution.result["leftBehind"] if step.undo_symptom)


def test_what_was_left_is_taken_over_by_the_next_provisioning(world: World) -> None:
    fail_then(world)
    world.undo_retry_for = 0.3
    world.catalogue = put(
        world.catalogue, *(undo_with(world.catalogue.step(step.name), before=raising(refuse)) for step in UNDONE)
    )
    execution = world.run()
    assert listed(world, execution) == LEFT
    before = {
        thing for thing in world.things if thing.kind in {"organization", "user", "schema", "bucket", "workspace"}
    }

    world.catalogue = PROVISIONING
    again = world.execution(start(world.desk, execution.tenant_id, TESTER))

    assert again.waiting_until is not None, again.error
    assert before <= world.things
    tenant = world.the_tenant
    assert tenant.status is Status.ACTIVE
    assert not {"requiresManualCleanup", "failedAt", "provisioningError"} & set(tenant.metadata)
    assert world.desk.ledger.left_behind(tenant.id) == []


def test_a_system_that_cannot_be_asked_lists_what_may_be_there(world: World) -> None:
    world.undo_retry_for = 0.3
    world.retries = dict(world.retries) | {Group.STORAGE: replace(world.retries[Group.STORAGE], all_attempts=1)}
    fail_then(world)
    world.when(FAILS_AT, before=lambda: world.systems.break_("s3", "*", "refuse", times=9999, tenant=world.key))

    execution = world.run()

    assert listed(world, execution) == {"provisioning_storage": LEFT["provisioning_storage"]}
    assert "S3" in world.desk.ledger.left_behind(execution.tenant_id)[0].reason
    assert world.the_tenant.metadata["requiresManualCleanup"] is True
