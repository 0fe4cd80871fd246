"""The protocols of the outside systems: what the steps ask for, and nothing about how it is done.

Rules that hold for every method:
* Idempotent. `ensure_*` looks up by mark (or recorded name) before it creates; `remove_*` treats "gone" as done.
* Something that exists without our mark: `ensure_*` raises ResourceAlreadyExists, `remove_*` answers NotOurs.
* `call.before_write()` right before every outside write; `call.seconds_left()` before every outside read; both answer
  the client time-out of that one request, in seconds. No sleeping, no retrying inside an adapter.
* Raises only the failures of `domain.failures`, DeadlinePassed, and whatever the fence raises.
* `find` answers everything of the tenant that carries the mark; empty means that nothing is left.
* `look` is cheap and writes nothing: one request or two about what a Pending has left going on, found by its token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import Ensured, ObjectRef, Pending, Removal
from tenant_pipelines.domain.tenant import Contact


class Look(StrEnum):
    """What a look at something that goes on outside has found."""

    GOES_ON = "goes_on"
    """There is nothing to be done but to wait."""
    MOVED = "moved"
    """It has ended, is gone, or needs something done: whoever began it is to see to it."""


class IdentityProvider(Protocol):
    """Keycloak: one organization per tenant in the shared realm, and its first user."""

    def ensure_organization(self, *, alias: str, name: str, domains: Sequence[str], mark: Mark, call: Call) -> Ensured:
        """The organization with that alias; `ref.id` is its id."""
        ...

    def remove_organization(self, *, alias: str, mark: Mark, call: Call) -> Removal: ...

    def ensure_admin_user(self, *, contact: Contact, organization_id: str, mark: Mark, call: Call) -> Ensured:
        """The tenant's administrator: user, membership, role, and an invitation mail instead of a password."""
        ...

    def remove_admin_user(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        """Every user that carries the mark."""
        ...

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


@dataclass(frozen=True, slots=True)
class DatabaseAccess:
    """How the tenant's application reaches its schema. `password` must go nowhere but into the tenant's secret."""

    host: str
    port: int
    database: str
    schema: str
    user: str
    password: str = field(repr=False)


class SchemaStore(Protocol):
    """PostgreSQL: a schema with its tables, and a login role that can use that schema only."""

    def ensure_schema(self, *, key: str, schema: str, mark: Mark, call: Call) -> Ensured:
        """Calls `create_tenant_schema(key)` and marks what it made; `facts["tables"]` counts its tables."""
        ...

    def ensure_role(self, *, schema: str, mark: Mark, call: Call) -> Ensured: ...

    def issue_access(self, *, schema: str, mark: Mark, call: Call) -> DatabaseAccess:
        """Give the role a new random password and answer it; the one before stops working."""
        ...

    def remove_schema(self, *, schema: str, mark: Mark, call: Call) -> Removal: ...

    def remove_role(self, *, schema: str, mark: Mark, call: Call) -> Removal: ...

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


@dataclass(frozen=True, slots=True)
class StorageAccess:
    """A key that opens only the tenant's bucket. `secret_key` must go nowhere but into the tenant's secret."""

    endpoint: str
    region: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)


class ObjectStore(Protocol):
    """S3: the tenant's bucket, versioned, encrypted and tagged, and the identity that is confined to it."""

    def ensure_bucket(self, *, bucket: str, quota_bytes: int, mark: Mark, call: Call) -> Ensured: ...

    def ensure_access(self, *, bucket: str, mark: Mark, call: Call) -> Ensured:
        """An identity of the tenant's own and the policy that confines it to the bucket."""
        ...

    def issue_access(self, *, bucket: str, mark: Mark, call: Call) -> StorageAccess:
        """A fresh key of that identity; older ones are removed."""
        ...

    def remove_access(self, *, bucket: str, mark: Mark, call: Call) -> Removal: ...

    def remove_bucket(self, *, bucket: str, mark: Mark, call: Call) -> Removal:
        """The bucket with all its objects, versions, delete markers and unfinished uploads."""
        ...

    def find(self, *, bucket: str, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """A Terraform run that has been applied: its non-sensitive outputs, and its resources as address to id."""

    ref: ObjectRef
    outputs: Mapping[str, str]
    resources: Mapping[str, str]


class Infrastructure(Protocol):
    """Terraform Cloud: a workspace per tenant whose root configuration is one `module "tenant_{key}"`."""

    def ensure_workspace(self, *, workspace: str, variables: Mapping[str, str], mark: Mark, call: Call) -> Ensured: ...

    def apply(
        self, *, workspace: str, key: str, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Applied | Pending:
        """Upload the configuration, start a run, confirm it, and follow it; `token` is that of the last Pending.

        Raises: InfrastructureFailed with the run's id, its URL and the last log lines (secrets masked).
        """
        ...

    def destroy(
        self, *, workspace: str, key: str, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Sequence[Removal] | Pending:
        """Cancel or discard a run that is under way, destroy everything, then remove the workspace."""
        ...

    def look(self, *, workspace: str, token: Mapping[str, str], call: Call) -> Look:
        """What has become of what `apply` or `destroy` waits for; `token` is that of the last Pending."""
        ...

    def find(self, *, workspace: str, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


@dataclass(frozen=True, slots=True)
class Application:
    """The tenant's application as it is to run.

    Args:
        name: namespace or container name (`tenant-{key}`).
        host: the name under which the ingress answers.
        cpu: cores in thousandths. memory: bytes.
        secret: environment of the application; shown nowhere.
    """

    name: str
    image: str
    replicas: int
    cpu: int
    memory: int
    host: str
    secret: Mapping[str, str] = field(repr=False)


class Platform(Protocol):
    """Kubernetes or Docker: where the tenant's application runs."""

    def deploy(
        self, *, application: Application, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Ensured | Pending:
        """Apply everything (token None), then follow the rollout; `ref.url` is where the application answers."""
        ...

    def remove(self, *, name: str, mark: Mark, token: Mapping[str, str] | None, call: Call) -> Removal | Pending:
        """Remove it and wait until it is gone; Pending names what blocks it."""
        ...

    def look(self, *, name: str, token: Mapping[str, str], call: Call) -> Look:
        """What has become of what `deploy` or `remove` waits for; `token` is that of the last Pending."""
        ...

    def find(self, *, name: str, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


class NameService(Protocol):
    """DNS: the tenant's names in our zone, each with a TXT ownership mark beside it."""

    def ensure_records(self, *, domains: Sequence[str], target: str, mark: Mark, call: Call) -> Sequence[Ensured]:
        """A CNAME to `target` for each domain inside the zone; a domain outside of it is its owner's business."""
        ...

    def remove_records(self, *, domains: Sequence[str], mark: Mark, call: Call) -> Sequence[Removal]: ...

    def find(self, *, domains: Sequence[str], mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


class Billing(Protocol):
    """Stripe: the customer and the subscription."""

    def ensure_customer(self, *, name: str, email: str, linked_id: str | None, mark: Mark, call: Call) -> Ensured:
        """Adopts `linked_id` (the operator's link), else the one with our mark, else creates.

        Raises: ResourceAlreadyExists with the linking UPDATE when a customer has the e-mail and no tenantId.
        """
        ...

    def ensure_subscription(self, *, customer_id: str, plan_id: str, mark: Mark, call: Call) -> Ensured: ...

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...


class Mailer(Protocol):
    """Novu: triggers a notification workflow; Novu does the rendering and the sending."""

    def send(self, *, template: str, recipient: Contact, payload: Mapping[str, str], mark: Mark, call: Call) -> Ensured:
        """`call.key` is the transaction id, so that the same mail is not sent twice."""
        ...


@dataclass(frozen=True, slots=True)
class TenantProvisioned:
    """The body of the app-plane webhook `tenant.provisioned` (the replaced system's payload, without secrets)."""

    tenant_id: str
    tenant_key: str
    tenant_name: str
    plan_id: str | None
    tier: str
    workflow_id: str
    admin_email: str | None
    admin_first_name: str | None
    admin_last_name: str | None
    organization_id: str | None


class AppPlane(Protocol):
    """The application's own control plane: told by a signed webhook, answers later with `appPlaneProvisioned`."""

    def notify(self, *, event: TenantProvisioned, call: Call) -> Ensured:
        """`call.key` is the webhook-id, stable across attempts."""
        ...


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A row of `tenant_management.resources`: one thing the tenant has, as the rest of the company sees it."""

    type: str
    external_identifier: str
    metadata: Mapping[str, str]


class Records(Protocol):
    """Our own database: the tenant's resource rows."""

    def ensure_resources(self, *, rows: Sequence[ResourceRow], mark: Mark, call: Call) -> Sequence[Ensured]:
        """Exactly these rows, in one transaction."""
        ...

    def remove_resources(self, *, mark: Mark, call: Call) -> Sequence[Removal]: ...

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]: ...
