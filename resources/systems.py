"""One resource a system: reads the settings, makes the adapter; nothing is connected before it is used."""

from typing import Any

from dagster import ConfigurableResource
from psycopg.conninfo import conninfo_to_dict

from tenant_pipelines import settings
from tenant_pipelines.adapters.app_plane import AppPlaneConfig, AppPlaneWebhook
from tenant_pipelines.adapters.dns import DnsZone, Rfc2136
from tenant_pipelines.adapters.docker import Docker, DockerHost
from tenant_pipelines.adapters.keycloak import Keycloak, KeycloakRealm
from tenant_pipelines.adapters.kubernetes import Kubernetes, KubernetesConfiguration
from tenant_pipelines.adapters.novu import Novu, NovuAccess
from tenant_pipelines.adapters.postgres import Postgres, PostgresConfig
from tenant_pipelines.adapters.s3 import S3, Feature, S3Config
from tenant_pipelines.adapters.stripe import Stripe, StripeAccess
from tenant_pipelines.adapters.terraform import TerraformCloud, TerraformSettings


class IdentityResource(ConfigurableResource[Any]):
    """Keycloak."""

    def adapter(self) -> Keycloak:
        """As set."""
        given = settings.load()
        secret = given.keycloak_client_secret.get_secret_value()
        return Keycloak(KeycloakRealm(given.keycloak_url, given.keycloak_realm, given.keycloak_client_id, secret))


class SchemasResource(ConfigurableResource[Any]):
    """PostgreSQL, as the role provisioner."""

    def adapter(self) -> Postgres:
        """As set."""
        conninfo = settings.load().provisioner_database_url.get_secret_value()
        parts = conninfo_to_dict(conninfo)
        return Postgres(PostgresConfig(conninfo, str(parts.get("host")), int(parts.get("port") or 5432)))


class StorageResource(ConfigurableResource[Any]):
    """S3 and its identities."""

    def adapter(self) -> S3:
        """As set."""
        given = settings.load()
        return S3(
            S3Config(
                endpoint=given.s3_url,
                region=given.s3_region,
                access_key=given.s3_access_key,
                secret_key=given.s3_secret_key.get_secret_value(),
                owner=given.s3_owner,
                accept_missing=frozenset(Feature(name) for name in given.s3_accept_missing),
            )
        )


class InfrastructureResource(ConfigurableResource[Any]):
    """Terraform Cloud."""

    def adapter(self) -> TerraformCloud:
        """As set."""
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

    def adapter(self) -> Kubernetes:
        """As set."""
        given = settings.load()
        return Kubernetes(
            KubernetesConfiguration(
                url=given.kubernetes_url,
                token=given.kubernetes_token.get_secret_value(),
                ca_file=given.kubernetes_ca_file,
                url_template=given.application_url,
            )
        )


class DockerResource(ConfigurableResource[Any]):
    """The Docker host that tenants' applications run on instead."""

    def adapter(self) -> Docker:
        """As set."""
        return Docker(DockerHost(settings.load().docker_url))


class DnsResource(ConfigurableResource[Any]):
    """The primary server of our zone."""

    def adapter(self) -> Rfc2136:
        """As set."""
        given = settings.load()
        secret = given.dns_key_secret.get_secret_value()
        return Rfc2136(DnsZone(f"dns://{given.dns_server}", given.dns_zone, given.dns_key_name, secret))


class BillingResource(ConfigurableResource[Any]):
    """Stripe."""

    def adapter(self) -> Stripe:
        """As set."""
        given = settings.load()
        return Stripe(StripeAccess(given.stripe_key.get_secret_value(), given.stripe_url))


class MailerResource(ConfigurableResource[Any]):
    """Novu."""

    def adapter(self) -> Novu:
        """As set."""
        given = settings.load()
        return Novu(NovuAccess(given.novu_key.get_secret_value(), given.novu_url))


class AppPlaneResource(ConfigurableResource[Any]):
    """The application's own control plane."""

    def adapter(self) -> AppPlaneWebhook:
        """As set."""
        given = settings.load()
        return AppPlaneWebhook(AppPlaneConfig(given.app_plane_url, given.app_plane_webhook_secret.get_secret_value()))
