"""Every step goes wrong once, in the same way, and the workflow goes on: nothing is there twice."""

from collections import Counter
from dataclasses import replace

import pytest

from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State, StepState
from tests.scenarios.matrix import (
    APPLY,
    BUCKET,
    CONTAINER,
    DEPLOYMENT,
    NAMESPACE,
    ORGANIZATION,
    RECORDS,
    SCHEMA_COMMIT,
    USER,
    WORKSPACE,
    Target,
)
from tests.scenarios.test_past_pivot import CUSTOMER, MAIL, SUBSCRIPTION, WEBHOOK, mails
from tests.world.steps import once
from tests.world.world import World

MODES = ["refuse", "timeout_after", "server_error", "half_done"]
ON_KUBERNETES = [
    ORGANIZATION, USER, SCHEMA_COMMIT, BUCKET, WORKSPACE, APPLY, NAMESPACE, DEPLOYMENT, RECORDS,
    CUSTOMER, SUBSCRIPTION, MAIL, WEBHOOK,
]  # fmt: skip


def arm(world: World, targets: list[Target], mode: str) -> None:
    """Let each of these calls go wrong once, when its step begins."""
    for target in targets:
        fault = {"operation": target.operation, "mode": mode, "times": 1, "tenant": world.key}
        world.when(target.step, before=once(lambda t=target, f=fault: world.systems.break_(t.system, **f)))  # type: ignore[misc]


@pytest.mark.parametrize("mode", MODES)
def test_everything_is_there_once(world: World, mode: str) -> None:
    targets = [t for t in ON_KUBERNETES if not (t is APPLY and mode == "half_done")]  # that is a run that has failed
    arm(world, targets, mode)
    world.retries = {group: replace(policy, one_attempt=1.2) for group, policy in world.retries.items()}

    waiting = world.run()

    assert waiting.waiting_until is not None, waiting.error
    assert {t.system: world.systems.left_to_break(t.system) for t in targets} == {t.system: 0 for t in targets}
    assert world.the_tenant.status is Status.ACTIVE
    assert {name: world.state_of(name) for name in ("sending_notifications", "creating_subscription")} == {
        "sending_notifications": StepState.DONE,
        "creating_subscription": StepState.DONE,
    }
    kinds = Counter(str(thing) for thing in world.things)
    assert all(thing.ours for thing in world.things)
    assert {kind: kinds[kind] for kind in ONE_OF_EACH} == dict.fromkeys(ONE_OF_EACH, 1)
    assert mails(world) == 1
    assert world.confirm().state is State.COMPLETED


ONE_OF_EACH = (
    "keycloak organization",
    "keycloak user",
    "postgres schema",
    "postgres role",
    "s3 bucket",
    "s3 user",
    "terraform workspace",
    "kubernetes namespace",
    "dns cname",
    "stripe customer",
    "stripe subscription",
    "app_plane organization",
)


@pytest.mark.parametrize("mode", ["timeout_after", "half_done"])
def test_a_container_is_there_once(world: World, mode: str) -> None:
    world.plan = "free"
    world.deploy_to("docker")
    arm(world, [CONTAINER], mode)
    world.retries = {group: replace(policy, one_attempt=3) for group, policy in world.retries.items()}

    world.run()

    assert world.systems.left_to_break("docker") == 0
    assert world.the_tenant.status is Status.ACTIVE
    assert [thing.kind for thing in world.systems.things_of(world.key, "docker")].count("container") == 1


def test_a_system_that_asks_for_patience_is_given_it(world: World) -> None:
    world.plan = "free"
    world.deploy_to("docker")
    asking = [ORGANIZATION, BUCKET, CUSTOMER, MAIL]
    arm(world, asking, "rate_limited")

    world.run()

    assert {t.system: world.systems.left_to_break(t.system) for t in asking} == {t.system: 0 for t in asking}
    assert world.the_tenant.status is Status.ACTIVE
    assert world.state_of(MAIL.step) is StepState.DONE
