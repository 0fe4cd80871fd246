"""A workflow on its way forward."""

import pytest

from tenant_pipelines.domain.failures import Answered, Outage
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import State
from tests.fakes.company import Company
from tests.fakes.systems import Systems

EVERYTHING = {
    "keycloak organization",
    "keycloak user",
    "postgres schema",
    "postgres role",
    "s3 bucket",
    "s3 user",
    "terraform workspace",
    "kubernetes namespace",
    "dns record",
    "postgres row",
    "stripe customer",
    "stripe subscription",
    "novu mail",
    "app_plane organization",
}


def test_a_silo_tenant_gets_everything_and_is_active_before_the_app_plane_confirms(
    company: Company, systems: Systems
) -> None:
    execution = company.provision("acme")

    tenant = company.tenant("acme")
    assert tenant.status is Status.ACTIVE
    assert systems.of("acme") == EVERYTHING
    assert execution.state is State.FORWARD
    assert execution.waiting_until is not None
    assert tenant.metadata["schemaName"] == "tenant_acme"
    assert tenant.metadata["storageBucket"] == "tenant-acme"
    assert tenant.metadata["stripeCustomerId"] == "cus_acme"
    assert company.desk.ledger.owed(tenant.id) == ["provisioning_app_plane"]


@pytest.mark.parametrize("plan", ["free", "hybrid"])
def test_other_tiers_do_without_infrastructure_and_dns(company: Company, systems: Systems, plan: str) -> None:
    company.provision("acme", plan=plan)

    assert systems.of("acme") == EVERYTHING - {"terraform workspace", "dns record"}


def test_an_outage_uses_up_no_attempt(company: Company, systems: Systems) -> None:
    systems.fail("bucket", Outage.refused("S3", "127.0.0.1", 9000), times=6)

    company.provision("acme")

    assert company.tenant("acme").status is Status.ACTIVE
    assert systems.calls.count("bucket") == 7


def test_answered_errors_use_up_the_attempts(company: Company, systems: Systems) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)

    execution = company.settle(company.provision("acme"))

    assert systems.calls.count("bucket") == 2
    assert execution.failed_step == "provisioning_storage"
    assert "Failed to provision tenant storage: S3 said no (SystemError, after 2 attempts)" in (execution.error or "")


def test_a_wait_goes_on_with_its_token(company: Company, systems: Systems) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 0.01), times=3)

    company.provision("acme")

    assert company.tenant("acme").status is Status.ACTIVE
    assert systems.calls.count("workspace") == 1
    assert systems.calls.count("apply") == 4


def test_a_wait_longer_than_the_steps_time_is_looked_at_when_the_time_is_over(
    company: Company, systems: Systems
) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 3600.0))  # its time is 2 s

    company.provision("acme")

    assert company.tenant("acme").status is Status.ACTIVE
    assert systems.calls.count("apply") == 2
