"""What the fault matrix is made of: where each step before the point of no return touches the outside."""

from dataclasses import dataclass

from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tests.world.world import World

NEVER_LEFT = ("schemaName", "storageBucket", "idpOrganizationId", "appPlaneUrl", "provisionedAt")
"""Metadata that is untrue of a tenant that has been rolled back."""


@dataclass(frozen=True)
class Target:
    """One call of one step.

    Args:
        says: the system's name as failures give it.
        plan: of the tenant. target: where its application goes.
    """

    step: str
    system: str
    operation: str
    says: str
    deployment: str = "kubernetes"

    def __str__(self) -> str:
        return f"{self.step} {self.system} {self.operation}"


ORGANIZATION = Target("creating_idp_organization", "keycloak", "POST /admin/realms/*/organizations", "Keycloak")
USER = Target("creating_admin_user", "keycloak", "POST /admin/realms/*/users", "Keycloak")
SCHEMA = Target("provisioning_database", "postgres", "create_tenant_schema", "PostgreSQL")
SCHEMA_COMMIT = Target("provisioning_database", "postgres", "COMMIT", "PostgreSQL")
BUCKET = Target("provisioning_storage", "s3", "CreateBucket", "S3")
WORKSPACE = Target("provisioning_infrastructure", "terraform", "POST /api/v2/organizations/*/workspaces", "Terraform")
APPLY = Target("provisioning_infrastructure", "terraform", "POST /api/v2/runs/*/actions/apply", "Terraform")
NAMESPACE = Target("deploying_application", "kubernetes", "POST /api/v1/namespaces", "Kubernetes")
DEPLOYMENT = Target(
    "deploying_application", "kubernetes", "PATCH /apis/apps/v1/namespaces/*/deployments/*", "Kubernetes"
)
CONTAINER = Target("deploying_application", "docker", "POST /containers/create", "Docker", "docker")
RECORDS = Target("configuring_dns", "dns", "UPDATE", "DNS", "docker")

BEFORE_EFFECT = [ORGANIZATION, USER, SCHEMA, BUCKET, WORKSPACE, APPLY, NAMESPACE, DEPLOYMENT, CONTAINER, RECORDS]
WITH_EFFECT = [SCHEMA_COMMIT if target is SCHEMA else target for target in BEFORE_EFFECT]
"""A statement counts when its transaction is committed."""


def break_at(world: World, target: Target, mode: str) -> None:
    """Let the step fail at that call."""
    world.deploy_to(target.deployment)
    world.break_(target.step, target.system, target.operation, mode)


def assert_rolled_back(world: World, execution: Execution, *, step: str, says: str) -> None:
    """The run failed there, for that reason; the tenant is PROVISION_FAILED, and nothing is left of it anywhere."""
    assert execution.failed_step == step, execution.error
    assert execution.state is State.FAILED
    assert execution.error is not None
    assert execution.error.startswith(f"PROVISION_FAILED: {world.catalogue.step(step).symptom}")
    assert says in execution.error
    assert world.things == set()
    tenant = world.the_tenant
    assert tenant.status is Status.PROVISION_FAILED
    assert tenant.metadata["failedAt"] == step
    assert tenant.metadata["provisioningError"] == execution.error
    assert not set(NEVER_LEFT) & set(tenant.metadata)
    assert "requiresManualCleanup" not in tenant.metadata
    assert world.desk.ledger.left_behind(tenant.id) == []
    assert world.refused == []
    assert [marker for marker, _, _ in world.journal.lines].count(Marker.FAIL) == 1
