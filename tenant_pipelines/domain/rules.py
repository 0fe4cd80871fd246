"""What the steps need to know of the settings: names, limits and templates, without any secret."""

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_pipelines.domain.tenant import Tenant, Tier


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant of one tier gets: bytes of storage; copies, thousandths of a core and bytes of its application."""

    storage_bytes: int
    replicas: int
    cpu: int
    memory: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of the settings that decides how a tenant is made.

    Args:
        bucket_prefix: before the tenant's key in its bucket's name.
        deployment_target: kubernetes or docker, for tenants whose step 7 is still to come.
        application_url, admin_portal_url: templates with {host}.
        app_plane_wait: seconds the workflow waits for `appPlaneProvisioned`.
    """

    limits: Mapping[Tier, Limits]
    bucket_prefix: str
    deployment_target: str
    application_image: str
    application_url: str
    admin_portal_url: str
    welcome_template: str
    app_plane_wait: float

    def host(self, tenant: Tenant) -> str:
        """The name under which the tenant's application answers: its first domain."""
        return tenant.domains[0] if tenant.domains else f"{tenant.key}.localhost"
