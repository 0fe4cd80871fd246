"""Wrong credentials, one system after the other: it is named, the credential is shown nowhere, nothing is left."""

from dataclasses import dataclass

import pytest

from tenant_pipelines import settings
from tests.scenarios.matrix import assert_rolled_back
from tests.world.leaks import shown_anywhere
from tests.world.world import Composed, World

WRONG = "AAAAwrongAAAAcredentialAAAAofAAAAnobodyAAAA="
"""Good as a key in base64 too."""


@dataclass(frozen=True)
class Case:
    """One setting with a wrong value, and the step that finds out.

    Args: says: the system as failures name it. words: what it has to say.
    """

    setting: str
    step: str
    says: str
    words: str = "401 Unauthorized"


BEFORE_PIVOT = [
    Case("keycloak_client_secret", "creating_idp_organization", "Keycloak"),
    Case(
        "provisioner_database_url",
        "provisioning_database",
        "PostgreSQL",
        "does not accept the credentials of role provisioner",
    ),
    Case("s3_secret_key", "provisioning_storage", "S3"),
    Case("terraform_token", "provisioning_infrastructure", "Terraform"),
    Case("kubernetes_token", "deploying_application", "Kubernetes"),
    Case("dns_key_secret", "configuring_dns", "DNS"),
]
PAST_PIVOT = [
    Case("stripe_key", "creating_billing_customer", "Stripe"),
    Case("app_plane_webhook_secret", "provisioning_app_plane", "App plane"),
]


def wrong_world(world: World, composed: Composed, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world with that one credential; an operator has put it right when the rollback begins."""
    value = WRONG
    if case.setting == "provisioner_database_url":
        right = composed.given.provisioner_database_url.get_secret_value()
        value = right.replace(world.systems.made.provisioner_password, WRONG.rstrip("="))
    if case.setting == "app_plane_webhook_secret":
        value = f"whsec_{WRONG}"
    monkeypatch.setenv(settings.PREFIX + case.setting.upper(), value)
    world.mended_for_rollback = world.world
    world.world = composed.another(settings.load())


@pytest.mark.parametrize("case", BEFORE_PIVOT, ids=lambda case: case.says)
def test_before_the_point_of_no_return(
    world: World, composed: Composed, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_world(world, composed, case, monkeypatch)

    execution = world.run()

    assert_rolled_back(world, execution, step=case.step, says=case.says)
    assert execution.error_code == "InvalidCredentials"
    assert case.words in (execution.error or "")
    assert "(InvalidCredentials, not retried)" in (execution.error or "")
    assert shown_anywhere(world.systems, {"the wrong one": WRONG.rstrip("=")}) == {}


@pytest.mark.parametrize("case", PAST_PIVOT, ids=lambda case: case.says)
def test_past_the_point_of_no_return(
    world: World, composed: Composed, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.plan = "free"
    world.deploy_to("docker")
    wrong_world(world, composed, case, monkeypatch)
    world.deploy_to("docker")

    execution = world.run()

    assert execution.failed_step == case.step
    assert case.says in (execution.error or "")
    assert case.words in (execution.error or "")
    assert world.desk.ledger.owed(execution.tenant_id) == [case.step]
    assert shown_anywhere(world.systems, {"the wrong one": WRONG.rstrip("=")}) == {}


def test_a_wrong_key_for_mails_fails_nothing(world: World, composed: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    world.plan = "free"
    case = Case("novu_key", "sending_notifications", "Novu")
    wrong_world(world, composed, case, monkeypatch)
    world.deploy_to("docker")

    execution = world.run()

    assert execution.waiting_until is not None
    assert case.step in world.desk.ledger.owed(execution.tenant_id)
    events = [e["details"] for e in world.desk.ledger.history(execution.id) if e["type"] == "StepOwed"]
    assert "Failed to send notification: Novu answered 401 Unauthorized" in events[0]["error"]
    assert shown_anywhere(world.systems, {"the wrong one": WRONG.rstrip("=")}) == {}
