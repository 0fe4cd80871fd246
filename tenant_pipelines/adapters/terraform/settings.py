"""What the adapter has to be told about the Terraform Cloud it talks to."""

from dataclasses import dataclass, field

from tenant_pipelines.adapters.terraform.configuration import BUILT_IN, TenantModule


@dataclass(frozen=True, slots=True)
class TerraformSettings:
    """Where the workspaces live, and what is put into them. A company's own certificate authority: SSL_CERT_FILE.

    Args:
        address: scheme, host and port, without a path (`https://app.terraform.io`).
        organization: the organization's name.
        token: a user's or a team's API token; an organization's token cannot start runs.
        module: the Terraform module that makes up one tenant.
        project_id: the project that new workspaces go into (`prj-...`), or None for the default one.
        terraform_version: the version that new workspaces run (`1.11.4`, `~> 1.11`), or None for the latest.
        look_again_after: seconds between two looks at a run.
    """

    address: str
    organization: str
    token: str = field(repr=False)
    module: TenantModule = BUILT_IN
    project_id: str | None = None
    terraform_version: str | None = None
    look_again_after: float = 10.0
