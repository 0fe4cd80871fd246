"""Every setting of the product, in one place.

A setting `x` is the variable `TENANT_PIPELINES_X`, taken from (first wins) the environment, `.env`, the local stack's
`.local/settings.env`, and files named after the variable in lower case in `TENANT_PIPELINES_SECRETS_DIR`.
Nothing that opens a door has a default. Times are in seconds.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.retention import Ages, Bounds
from tenant_pipelines.domain.retries import RETRIES, Group, Retries
from tenant_pipelines.domain.rules import Limits, Rules
from tenant_pipelines.domain.tenant import Tier

PREFIX = "TENANT_PIPELINES_"
ENV_FILES = (".local/settings.env", ".env")

Seconds = Annotated[float, Field(gt=0, le=90 * 24 * 3600)]
MIB = 1024 * 1024
GIB = 1024 * MIB
DAY = 24 * 3600
Kept = Annotated[float, Field(ge=0, le=36500 * DAY, validate_default=True)]
"""How long something is kept, in seconds; 0 for ever."""


class InvalidSettings(Exception):
    """Some settings are missing or wrong; the message names every one of them, and shows no value."""


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


def _postgres_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]


class TierLimits(BaseModel):
    """What a tenant of one tier gets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    storage_bytes: int = Field(gt=0)
    """The quota of its bucket."""
    replicas: int = Field(ge=1, le=100)
    """Copies of its application."""
    cpu: int = Field(ge=10)
    """Thousandths of a core for each copy."""
    memory: int = Field(ge=16 * MIB)
    """Bytes for each copy."""


DEFAULT_LIMITS = {
    Tier.POOLED: TierLimits(storage_bytes=5 * GIB, replicas=1, cpu=100, memory=128 * MIB),
    Tier.BRIDGE: TierLimits(storage_bytes=50 * GIB, replicas=2, cpu=250, memory=256 * MIB),
    Tier.SILO: TierLimits(storage_bytes=500 * GIB, replicas=3, cpu=500, memory=512 * MIB),
}


def _retry_fields() -> dict[str, Any]:
    """`retry_GROUP_attempts`, `_first_wait`, `_longest_wait`, `_one_attempt`, `_all_attempts` for every group."""
    fields: dict[str, Any] = {}
    for group, policy in RETRIES.items():
        fields[f"retry_{group}_attempts"] = (int, Field(policy.attempts, ge=1, le=1000))
        for name in ("first_wait", "longest_wait", "one_attempt", "all_attempts"):
            fields[f"retry_{group}_{name}"] = (Seconds, getattr(policy, name))
    return fields


RetrySettings = create_model("RetrySettings", __base__=BaseSettings, **_retry_fields())
"""The contract's retry table, a setting for each number."""


class Settings(RetrySettings):  # type: ignore[valid-type, misc]
    """The settings of one process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    # The database
    database_url: PostgresUrl
    """The ledger and the tenants, as the role control_plane."""
    provisioner_database_url: PostgresUrl
    """The same database as the role provisioner, who makes tenants' schemas and roles."""

    # Identity
    keycloak_url: HttpUrl
    """With its base path, as http://127.0.0.1:8180/auth."""
    keycloak_realm: str = "ananta-saas"
    """The shared realm in which every tenant has its organization."""
    keycloak_client_id: str = "provisioner"
    """A service account with manage-organizations, manage-users and view-realm."""
    keycloak_client_secret: SecretStr
    """Of that client."""

    # Storage
    s3_url: HttpUrl
    """The S3 service, and its IAM API."""
    s3_region: str = "us-east-1"
    """Signed into every request; also where buckets are made."""
    s3_access_key: str
    """Who the product is at S3."""
    s3_secret_key: SecretStr
    """Proves it."""
    s3_bucket_prefix: str = Field("tenant-", pattern=r"^[a-z0-9][a-z0-9-]{0,29}$")
    """Before the tenant's key; bucket names are global on AWS. The name used is recorded per tenant."""
    s3_accept_missing: frozenset[Literal["versioning", "encryption", "public_access_block", "lifecycle"]] = frozenset()
    """Features that this S3 server may lack (it answers 501)."""
    s3_owner: str | None = None
    """The owner id under which only this product creates buckets; for servers that ignore CreateBucket's tags."""

    # Infrastructure
    terraform_url: HttpUrl
    """Terraform Cloud or Enterprise, without a path."""
    terraform_organization: str
    """In which every tenant has its workspace."""
    terraform_token: SecretStr
    """Of a user or a team; an organization's token cannot start runs."""
    terraform_look_again_after: Seconds = 10
    """Between two looks at a run."""

    # Deployment
    deployment_target: Literal["kubernetes", "docker"] = "kubernetes"
    """For tenants whose step 7 is still to come; recorded per tenant, so that undo uses the tenant's own."""
    kubernetes_url: HttpUrl
    """The API server."""
    kubernetes_token: SecretStr
    """Of a service account with the rights of the provisioner's ClusterRole."""
    kubernetes_ca_file: Path | None = None
    """PEM file with the authorities that may sign the server's certificate; the system's own if left out."""
    kubernetes_ingress_class: str = "nginx"
    """The ingress class that serves the tenants' hosts."""
    kubernetes_ingress_namespace: str = "ingress-nginx"
    """Of the ingress controller; only its pods may reach a tenant's application."""
    docker_url: str = "tcp://127.0.0.1:2375"
    """The Engine API, for the deployment target docker."""
    application_image: str
    """What runs for every tenant, as registry/name:tag."""
    application_port: int = Field(8080, ge=1, le=65535)
    """On which the application listens inside its container."""
    application_health_path: str = Field("/healthz", pattern=r"^/")
    """Answers 200 once the application can serve."""
    application_url: str = "https://{host}"
    """Where a tenant's application answers; {host} is its first domain."""
    admin_portal_url: str = "https://{host}/admin"
    """Where its administrator works."""

    # DNS
    dns_server: str = Field(pattern=r"^[^:]+:\d+$")
    """host:port of the primary that takes updates (RFC 2136)."""
    dns_zone: str
    """The zone that the tenants' names are in; a domain outside of it is its owner's business."""
    dns_key_name: str
    """The TSIG key as the server knows it."""
    dns_key_secret: SecretStr
    """TSIG, hmac-sha256, base64."""

    # Billing, notifications, app plane
    stripe_url: HttpUrl = "https://api.stripe.com"
    """Without /v1."""
    stripe_key: SecretStr
    """Secret or restricted key: reads prices, writes customers and subscriptions."""
    novu_url: HttpUrl = "https://api.novu.co"
    """The notification service."""
    novu_key: SecretStr
    """Its API key."""
    novu_template_welcome: str = "tenant-welcome"
    """The workflow at Novu that sends the welcome mail."""
    app_plane_url: HttpUrl
    """The application's control plane; /webhooks/tenant-provisioned is appended."""
    app_plane_webhook_secret: SecretStr
    """Signs what we send (whsec_…)."""
    app_plane_signal_secret: SecretStr
    """Signs what the app plane sends back (whsec_…)."""

    # Tenants
    plans: Mapping[str, Tier] = Field(default_factory=lambda: dict(TIER_OF_PLAN))
    """From plan to tier, without the `plan-` before it."""
    limits: Mapping[Tier, TierLimits] = Field(default_factory=lambda: dict(DEFAULT_LIMITS))

    # Time
    undo_retry_every: Seconds = 300
    """Between two tries of a rollback whose undo failed."""
    undo_retry_for: Seconds = 24 * 3600
    """After this long an undo that still fails counts as not to be finished."""
    sweep_after: Seconds = 120
    """The longest a lost call may still take effect; then everything with the tenant's mark is looked up again."""
    wait_in_worker: Seconds = 15
    """The longest a step's waits hold its worker; a longer one parks, and costs nothing until it is over."""
    app_plane_wait: Seconds = 300
    """For the appPlaneProvisioned signal; then the workflow completes and the confirmation stays pending."""

    # Workers
    workers: int = Field(2, ge=1, le=64)
    """Warm workers of the one pool; each carries out one run at a time."""
    worker_max_runs: int = Field(500, ge=1)
    """After so many runs a worker is replaced."""
    worker_max_memory: int = Field(512 * MIB, ge=64 * MIB)
    """Bytes resident after which a worker is replaced, those included that all workers share."""
    worker_silence: Annotated[float, Field(ge=2, le=3600)] = 10
    """Without a sign of life for so long a worker is killed, and its run goes on elsewhere."""
    worker_kill_after: Annotated[float, Field(ge=1, le=3600)] = 10
    """From the wish that a run should end to the death of its worker, if it does not."""
    worker_drain: Annotated[float, Field(ge=0, le=3600)] = 30
    """How long a pool that is to end waits for its runs to come to a place where they can go on elsewhere."""
    worker_queue_limit: int = Field(1000, ge=1)
    """Runs that may wait for a worker; then new workflows are refused, with the time to come back."""

    # Retention
    keep_dagster_runs: Kept = 30 * DAY
    """Dagster runs with their events, after their execution has closed (30 days). 0: for ever, or as long as personal
    data: it cannot be taken out of events."""
    keep_executions: Kept = 90 * DAY
    """Rows of a closed execution in the ledger, before they move to the archive (90 days). 0: for ever. Of a living
    tenant the executions themselves stay, and all of its newest one."""
    keep_personal_data: Kept = 365 * DAY
    """Names and addresses of people in what a closed execution was given, did and said, and the contacts of tenants
    that are gone (365 days). 0: for ever. The newest execution of a living tenant keeps them."""
    keep_archive: Kept = 0
    """Archived executions of tenants that are gone, after their end. 0: for ever."""
    keep_launches: Kept = 7 * DAY
    """Ended rows of the workers' queue (7 days). 0: for ever."""
    retention_batch: int = Field(200, ge=1, le=5000)
    """Things that the retention does in one transaction."""
    retention_at_most: int = Field(100_000, ge=1)
    """Things that one pass of it does; the next one goes on."""
    retention_time: Seconds = 300
    """For one pass; it keeps a worker busy so long at most."""

    # Doors
    rest_host: str = "127.0.0.1"
    """The address that the HTTP door listens on."""
    rest_port: int = Field(14000, ge=1, le=65535)
    """Its port."""

    # Logs
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or text for people."""
    log_file: Path | None = None
    """The one stream of the local stack, besides stderr."""

    @field_validator("keep_personal_data")
    @classmethod
    def _longer_than_events(cls, personal_data: float, given: ValidationInfo) -> float:
        runs = given.data.get("keep_dagster_runs", 1)
        if personal_data and not 0 < runs <= personal_data:
            raise ValueError("must not be shorter than keep_dagster_runs: events of runs cannot be redacted")
        return personal_data

    def rules(self) -> Rules:
        """What the steps need to know, without any secret."""
        return Rules(
            limits={tier: Limits(**limits.model_dump()) for tier, limits in self.limits.items()},
            bucket_prefix=self.s3_bucket_prefix,
            deployment_target=self.deployment_target,
            application_image=self.application_image,
            application_url=self.application_url,
            admin_portal_url=self.admin_portal_url,
            welcome_template=self.novu_template_welcome,
            app_plane_wait=self.app_plane_wait,
        )

    def ages(self) -> Ages:
        """How long what is kept."""
        return Ages(
            dagster_runs=self.keep_dagster_runs,
            executions=self.keep_executions,
            personal_data=self.keep_personal_data,
            archive=self.keep_archive,
            launches=self.keep_launches,
        )

    def bounds(self) -> Bounds:
        """Of one pass of the retention."""
        return Bounds(self.retention_batch, self.retention_at_most, self.retention_time)

    def retries(self) -> Mapping[Group, Retries]:
        """The retry table with every number as it is set."""
        return {group: self._retries(group) for group in Group}

    def _retries(self, group: Group) -> Retries:
        def value(name: str) -> Any:  # noqa: ANN401 - int or float, as the field says
            return getattr(self, f"retry_{group}_{name}")

        return Retries(
            attempts=value("attempts"),
            first_wait=value("first_wait"),
            longest_wait=value("longest_wait"),
            one_attempt=value("one_attempt"),
            all_attempts=value("all_attempts"),
        )


class QueueSettings(BaseSettings):
    """The one setting that a process needs which only launches runs, and may have no other one."""

    model_config = Settings.model_config

    worker_queue_limit: int = Settings.model_fields["worker_queue_limit"]  # the same field: one default, one rule


Read = TypeVar("Read", bound=BaseSettings)


def load() -> Settings:
    """Read the settings.

    Raises: InvalidSettings, naming every missing or invalid one.
    """
    return _read(Settings)


def queue_limit() -> int:
    """The setting `worker_queue_limit`, whatever else is set or missing. Raises: InvalidSettings."""
    return _read(QueueSettings).worker_queue_limit


def _read(model: type[Read]) -> Read:
    secrets = os.environ.get(f"{PREFIX}SECRETS_DIR")
    try:
        return model(_env_file=ENV_FILES, _secrets_dir=secrets)
    except ValidationError as error:
        lines = sorted(f"  {_variable(e['loc'])}: {_reason(e)}" for e in error.errors())
        raise InvalidSettings(
            "Settings are missing or wrong:\n" + "\n".join(lines) + "\n"
            "Set them in the environment, in .env, or as files in TENANT_PIPELINES_SECRETS_DIR; "
            "on the local stack, `make up` writes them to .local/settings.env."
        ) from None


def _variable(location: tuple[int | str, ...]) -> str:
    return PREFIX + ".".join(str(part) for part in location).upper()


def _reason(error: Mapping[str, Any]) -> str:
    return "missing" if error["type"] == "missing" else str(error["msg"]).removeprefix("Value error, ")
