"""What somebody else has made under the tenant's names survives the run and its rollback, and is named in the error."""

import re

import pytest

from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tests.world import strangers
from tests.world.strangers import Plant
from tests.world.world import World

PLANTED = [
    ("creating_idp_organization", "organization", strangers.organization),
    ("creating_admin_user", "user", strangers.user),
    ("provisioning_database", "schema", strangers.schema),
    ("provisioning_database", "role", strangers.role),
    ("provisioning_storage", "bucket", strangers.bucket),
    ("provisioning_infrastructure", "workspace", strangers.workspace),
    ("deploying_application", "namespace", strangers.namespace),
    ("deploying_application", "container", strangers.container),
    ("configuring_dns", "cname", strangers.record),
]


@pytest.mark.parametrize(("step", "kind", "plant"), PLANTED, ids=[kind for _, kind, _ in PLANTED])
def test_it_is_never_touched(world: World, step: str, kind: str, plant: Plant) -> None:
    world.deploy_to("kubernetes" if kind == "namespace" else "docker")
    plant(world.systems, world.key)
    planted = world.things
    assert {(thing.kind, thing.ours) for thing in planted} == {(kind, False)}

    execution = world.run()

    assert execution.failed_step == step, execution.error
    assert execution.error_code == "ResourceAlreadyExists"
    assert (execution.error or "").startswith(f"PROVISION_FAILED: {world.catalogue.step(step).symptom}")
    assert world.key in (execution.error or "")
    assert "stranger" not in (execution.error or "")
    assert world.things == planted
    assert world.the_tenant.status is Status.PROVISION_FAILED
    assert world.desk.ledger.left_behind(execution.tenant_id) == []


def test_what_is_in_it_is_never_touched(world: World) -> None:
    strangers.schema(world.systems, world.key)

    world.run()

    with world.systems.sql() as admin:
        assert admin.execute(f"select answer from tenant_{world.key}.precious".encode()).fetchall() == [(42,)]


def test_a_customer_with_the_same_address_is_linked_by_an_operator(world: World) -> None:
    world.plan = "free"
    world.deploy_to("docker")
    strangers.customer(world.systems, world.key)
    planted = world.systems.things_of(world.key, "stripe")

    failed = world.run()

    assert failed.failed_step == "creating_billing_customer"
    assert world.the_tenant.status is Status.ACTIVE
    assert world.systems.things_of(world.key, "stripe") == planted
    linking = re.search(r"UPDATE tenant_management\.tenants .*;", failed.error or "")
    assert linking, failed.error
    (customer,) = planted
    assert customer.id in linking.group()

    with world.systems.sql() as admin:
        admin.execute(linking.group().encode())
    world.resume()

    assert world.confirm().state is State.COMPLETED
    customers = [thing for thing in world.systems.things_of(world.key, "stripe") if thing.kind == "customer"]
    assert [(one.id, one.ours) for one in customers] == [(customer.id, True)]
    assert world.the_tenant.metadata["stripeCustomerId"] == customer.id
