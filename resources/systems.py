"""One resource a system: reads the settings, makes the adapter; nothing is connected before it is used.

The client libraries take seconds to load, so each is imported by the step that needs it and by nobody else.
"""
# ruff: noqa: PLC0415 - see above

import importlib
from typing import TYPE_CHECKING, Any

from dagster import ConfigurableResource
from psycopg.conninfo import conninfo_to_dict

from tenant_pipelines import settings

ADAPTERS = (
    "keycloak", "postgres", "s3", "terraform", "kubernetes", "docker", "dns", "stripe", "novu", "app_plane",
)  # fmt: skip

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource

    from tenant_pipelines.adapters.app_plane import AppPlaneWebhook
    from tenant_pipelines.adapters.dns import Rfc2136
    from tenant_pipelines.adapters.docker import Docker
    from tenant_pipelines.adapters.keycloak import Keycloak
    from tenant_pipelines.adapters.kubernetes import Kubernetes
    from tenant_pipelines.adapters.novu import Novu
    from tenant_pipelines.adapters.postgres import Postgres
    from tenant_pipelines.adapters.s3 import S3
    from tenant_pipelines.adapters.stripe import Stripe
    from tenant_pipelines.adapters.terraform import TerraformCloud


def load_clients() -> None:
    """Load every adapter with its client library, for a process whose copies are to share them."""
    for name in ADAPTERS:
        importlib.import_module(f"tenant_pipelines.adapters.{name}")


class IdentityResource(ConfigurableResource[Any]):
    """Keycloak."""

    def adapter(self) -> "Keycloak":
        """As set."""
        from tenant_pipelines.adapters.keycloak import Keycloak, KeycloakRealm

        given = settings.load()
        secret = given.keycloak_client_secret.get_secret_value()
        return Keycloak(KeycloakRealm(given.keycloak_url, given.keycloak_realm, given.keycloak_client_id, secret))


class SchemasResource(ConfigurableResource[Any]):
    """PostgreSQL, as the role provisioner."""

    def adapter(self) -> "Postgres":
        """As set."""
        from tenant_pipelines.adapters.postgres import Postgres, PostgresConfig

        conninfo = settings.load().provisioner_database_url.get_secret_value()
        parts = conninfo_to_dict(conninfo)
        return Postgres(PostgresConfig(conninfo, str(parts.get("host")), int(parts.get("port") or 5432)))


def s3() -> "S3Resource":
    """S3 as Dagster's own users know it: for ops and jobs of the company beside ours, and the ground of our adapter."""
    from dagster_aws.s3 import S3Resource

    given = settings.load()
    return S3Resource(
        endpoint_url=given.s3_url,
        region_name=given.s3_region,
        aws_access_key_id=given.s3_access_key,
        aws_secret_access_key=given.s3_secret_key.get_secret_value(),
        max_attempts=1,
    )


class StorageResource(ConfigurableResource[Any]):
    """S3 and its identities."""

    def adapter(self) -> "S3":
        """As set."""
        from tenant_pipelines.adapters.s3 import S3, Feature, S3Config

        given = settings.load()
        way = s3()
        return S3(
            S3Config(
                endpoint=str(way.endpoint_url),
                region=str(way.region_name),
                access_key=str(way.aws_access_key_id),
                secret_key=str(way.aws_secret_access_key),
                owner=given.s3_owner,
                accept_missing=frozenset(Feature(name) for name in given.s3_accept_missing),
            )
        )


class InfrastructureResource(ConfigurableResource[Any]):
    """Terraform Cloud."""

    def adapter(self) -> "TerraformCloud":
        """As set."""
        from tenant_pipelines.adapters.terraform import TerraformCloud, TerraformSettings

        given = settings.load()
        return TerraformCloud(
            TerraformSettings(
                address=given.terraform_url,
                organization=given.terraform_organization,
                token=given.terraform_token.get_secret_value(),
                look_again_after=given.terraform_look_again_after,
            )
        )


class KubernetesResource(ConfigurableResource[Any]):
    """The cluster that tenants' applications run on."""

    def adapter(self) -> "Kubernetes":
        """As set."""
        from tenant_pipelines.adapters.kubernetes import Kubernetes, KubernetesConfiguration

        given = settings.load()
        return Kubernetes(
            KubernetesConfiguration(
                url=given.kubernetes_url,
                token=given.kubernetes_token.get_secret_value(),
                ca_file=given.kubernetes_ca_file,
                ingress_class=given.kubernetes_ingress_class,
                ingress_namespace=given.kubernetes_ingress_namespace,
                url_template=given.application_url,
                port=given.application_port,
                health_path=given.application_health_path,
            )
        )


class DockerResource(ConfigurableResource[Any]):
    """The Docker host that tenants' applications run on instead."""

    def adapter(self) -> "Docker":
        """As set."""
        from tenant_pipelines.adapters.docker import Docker, DockerHost

        given = settings.load()
        return Docker(DockerHost(given.docker_url, application_port=given.application_port))


class DnsResource(ConfigurableResource[Any]):
    """The primary server of our zone."""

    def adapter(self) -> "Rfc2136":
        """As set."""
        from tenant_pipelines.adapters.dns import DnsZone, Rfc2136

        given = settings.load()
        secret = given.dns_key_secret.get_secret_value()
        return Rfc2136(DnsZone(f"dns://{given.dns_server}", given.dns_zone, given.dns_key_name, secret))


class BillingResource(ConfigurableResource[Any]):
    """Stripe."""

    def adapter(self) -> "Stripe":
        """As set."""
        from tenant_pipelines.adapters.stripe import Stripe, StripeAccess

        given = settings.load()
        return Stripe(StripeAccess(given.stripe_key.get_secret_value(), given.stripe_url))


class MailerResource(ConfigurableResource[Any]):
    """Novu."""

    def adapter(self) -> "Novu":
        """As set."""
        from tenant_pipelines.adapters.novu import Novu, NovuAccess

        given = settings.load()
        return Novu(NovuAccess(given.novu_key.get_secret_value(), given.novu_url))


class AppPlaneResource(ConfigurableResource[Any]):
    """The application's own control plane."""

    def adapter(self) -> "AppPlaneWebhook":
        """As set."""
        from tenant_pipelines.adapters.app_plane import AppPlaneConfig, AppPlaneWebhook

        given = settings.load()
        return AppPlaneWebhook(AppPlaneConfig(given.app_plane_url, given.app_plane_webhook_secret.get_secret_value()))


def outside_systems() -> dict[str, ConfigurableResource[Any]]:
    """Each under the name that ops and the demo know it by."""
    return {
        "identity": IdentityResource(),
        "schemas": SchemasResource(),
        "store": StorageResource(),
        "infrastructure": InfrastructureResource(),
        "kubernetes": KubernetesResource(),
        "docker": DockerResource(),
        "dns": DnsResource(),
        "billing": BillingResource(),
        "mailer": MailerResource(),
        "app_plane": AppPlaneResource(),
    }
