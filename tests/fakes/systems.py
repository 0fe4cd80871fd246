"""Every outside system as one set of objects, with a script of what goes wrong next."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    ObjectRef,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import (
    Application,
    Applied,
    DatabaseAccess,
    Look,
    ResourceRow,
    StorageAccess,
    TenantProvisioned,
)
from tenant_pipelines.domain.rules import Limits, Rules
from tenant_pipelines.domain.tenant import Contact, Tier
from tenant_pipelines.saga.work import World

RULES = Rules(
    limits={tier: Limits(1024, 1, 100, 1024) for tier in Tier},
    bucket_prefix="tenant-",
    deployment_target="kubernetes",
    application_image="app:1",
    application_url="https://{host}",
    admin_portal_url="https://{host}/admin",
    welcome_template="tenant-welcome",
    app_plane_wait=300,
)


class Systems:
    """All nine at once: fulfils every port.

    `objects` is what exists; `script[operation]` holds what the next calls of that operation raise or answer instead,
    before their effect, or (as a pair with True) after it. `looks` is what the next looks answer or raise, before
    they answer that something has moved; `looked` holds their tokens.
    """

    def __init__(self) -> None:
        self.objects: dict[ObjectRef, Mark] = {}
        self.script: defaultdict[str, list[tuple[Exception | Pending, bool]]] = defaultdict(list)
        self.calls: list[str] = []
        self.looks: list[Look | Exception] = []
        self.looked: list[Mapping[str, str]] = []
        self.before: Callable[[str], None] = lambda _: None

    def fail(self, operation: str, error: Exception | Pending, *, after: bool = False, times: int = 1) -> None:
        """Let the next calls of the operation go wrong, before their effect or after it."""
        self.script[operation] += [(error, after)] * times

    def of(self, key: str) -> set[str]:
        """What exists of the tenant, as `system kind`."""
        return {f"{ref.system} {ref.kind}" for ref, mark in self.objects.items() if mark.tenant_key == key}

    def _ensure(self, operation: str, ref: ObjectRef, mark: Mark, call: Call) -> Ensured | Pending:
        self.calls.append(operation)
        self.before(operation)
        error, after = self.script[operation].pop(0) if self.script[operation] else (None, False)
        if error is not None and not after:
            return _raised(error)
        call.before_write()
        known = ref in self.objects
        self.objects[ref] = mark
        if error is not None:
            return _raised(error)
        return Adopted(ref) if known else Created(ref)

    def _sure(self, operation: str, ref: ObjectRef, mark: Mark, call: Call) -> Ensured:
        ensured = self._ensure(operation, ref, mark, call)
        assert not isinstance(ensured, Pending)
        return ensured

    def _remove(self, operation: str, refs: Sequence[ObjectRef], call: Call) -> list[Removal]:
        removed = self._take_away(operation, refs, call)
        assert not isinstance(removed, Pending)
        return removed

    def _take_away(self, operation: str, refs: Sequence[ObjectRef], call: Call) -> list[Removal] | Pending:
        self.calls.append(operation)
        self.before(operation)
        error, after = self.script[operation].pop(0) if self.script[operation] else (None, False)
        if error is not None and not after:
            return _raised(error)
        call.before_write()
        removals: list[Removal] = [
            Removed(ref) if self.objects.pop(ref, None) is not None else NothingToRemove(ref) for ref in refs
        ]
        if error is not None:
            return _raised(error)
        return removals

    def ensure_organization(self, *, alias: str, name: str, domains: Sequence[str], mark: Mark, call: Call) -> Ensured:
        return self._sure("organization", ObjectRef("keycloak", "organization", alias, f"org-{alias}"), mark, call)

    def remove_organization(self, *, alias: str, mark: Mark, call: Call) -> Removal:
        return self._remove(
            "remove organization", [ObjectRef("keycloak", "organization", alias, f"org-{alias}")], call
        )[0]

    def ensure_admin_user(self, *, contact: Contact, organization_id: str, mark: Mark, call: Call) -> Ensured:
        return self._sure("user", ObjectRef("keycloak", "user", mark.tenant_key, f"user-{mark.tenant_key}"), mark, call)

    def remove_admin_user(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        ref = ObjectRef("keycloak", "user", mark.tenant_key, f"user-{mark.tenant_key}")
        return self._remove("remove user", [ref], call)

    def ensure_schema(self, *, key: str, schema: str, mark: Mark, call: Call) -> Ensured:
        return self._sure("schema", ObjectRef("postgres", "schema", schema, schema), mark, call)

    def ensure_role(self, *, schema: str, mark: Mark, call: Call) -> Ensured:
        return self._sure("role", ObjectRef("postgres", "role", schema, schema), mark, call)

    def remove_schema(self, *, schema: str, mark: Mark, call: Call) -> Removal:
        return self._remove("remove schema", [ObjectRef("postgres", "schema", schema, schema)], call)[0]

    def remove_role(self, *, schema: str, mark: Mark, call: Call) -> Removal:
        return self._remove("remove role", [ObjectRef("postgres", "role", schema, schema)], call)[0]

    def ensure_bucket(self, *, bucket: str, quota_bytes: int, mark: Mark, call: Call) -> Ensured:
        return self._sure("bucket", ObjectRef("s3", "bucket", bucket, bucket), mark, call)

    def ensure_access(self, *, bucket: str, mark: Mark, call: Call) -> Ensured:
        return self._sure("access", ObjectRef("s3", "user", bucket, bucket), mark, call)

    def remove_access(self, *, bucket: str, mark: Mark, call: Call) -> Removal:
        return self._remove("remove access", [ObjectRef("s3", "user", bucket, bucket)], call)[0]

    def remove_bucket(self, *, bucket: str, mark: Mark, call: Call) -> Removal:
        return self._remove("remove bucket", [ObjectRef("s3", "bucket", bucket, bucket)], call)[0]

    def ensure_workspace(self, *, workspace: str, variables: Mapping[str, str], mark: Mark, call: Call) -> Ensured:
        return self._sure("workspace", ObjectRef("terraform", "workspace", workspace, workspace), mark, call)

    def apply(
        self, *, workspace: str, key: str, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Applied | Pending:
        ref = ObjectRef("terraform", "workspace", workspace, workspace)
        applied = self._ensure("apply", ref, mark, call)
        if isinstance(applied, Pending):
            return applied
        return Applied(ref, {"load_balancer_dns": "lb.example", "vpc_id": "vpc-1"}, {"module.x.y": "1"})

    def destroy(
        self, *, workspace: str, key: str, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Sequence[Removal] | Pending:
        return self._take_away("destroy", [ObjectRef("terraform", "workspace", workspace, workspace)], call)

    def deploy(
        self, *, application: Application, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Ensured | Pending:
        ref = ObjectRef("kubernetes", "namespace", application.name, application.name, "https://app")
        return self._ensure("deploy", ref, mark, call)

    def remove(self, *, name: str, mark: Mark, token: Mapping[str, str] | None, call: Call) -> Removal | Pending:
        ref = ObjectRef("kubernetes", "namespace", name, name, "https://app")
        removed = self._take_away("remove deployment", [ref], call)
        return removed if isinstance(removed, Pending) else removed[0]

    def ensure_records(self, *, domains: Sequence[str], target: str, mark: Mark, call: Call) -> Sequence[Ensured]:
        return [self._sure("dns", ObjectRef("dns", "record", domain, domain), mark, call) for domain in domains]

    def remove_records(self, *, domains: Sequence[str], mark: Mark, call: Call) -> Sequence[Removal]:
        return self._remove("remove dns", [ObjectRef("dns", "record", domain, domain) for domain in domains], call)

    def ensure_customer(self, *, name: str, email: str, linked_id: str | None, mark: Mark, call: Call) -> Ensured:
        key = mark.tenant_key
        return self._sure("customer", ObjectRef("stripe", "customer", key, f"cus_{key}"), mark, call)

    def ensure_subscription(self, *, customer_id: str, plan_id: str, mark: Mark, call: Call) -> Ensured:
        return self._sure(
            "subscription", ObjectRef("stripe", "subscription", plan_id, f"sub_{customer_id}"), mark, call
        )

    def send(self, *, template: str, recipient: Contact, payload: Mapping[str, str], mark: Mark, call: Call) -> Ensured:
        return self._sure("mail", ObjectRef("novu", "mail", recipient.email, call.key), mark, call)

    def notify(self, *, event: TenantProvisioned, call: Call) -> Ensured:
        mark = Mark(event.tenant_id, event.tenant_key)
        return self._sure("app plane", ObjectRef("app_plane", "organization", event.tenant_key, "1"), mark, call)

    def ensure_resources(self, *, rows: Sequence[ResourceRow], mark: Mark, call: Call) -> Sequence[Ensured]:
        return [self._sure("resources", ObjectRef("postgres", "row", mark.tenant_key, mark.tenant_id), mark, call)]

    def remove_resources(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        return self._remove("remove resources", [ObjectRef("postgres", "row", mark.tenant_key, mark.tenant_id)], call)

    def look(self, *, token: Mapping[str, str], call: Call, **_: object) -> Look:
        call.seconds_left()
        self.looked.append(token)
        self.before("look")
        answer = self.looks.pop(0) if self.looks else Look.MOVED
        if isinstance(answer, Exception):
            raise answer
        return answer

    def find(self, *, mark: Mark, call: Call, **_: object) -> Sequence[ObjectRef]:
        call.seconds_left()
        if self.script["find"]:
            _raised(self.script["find"].pop(0)[0])
        return [ref for ref, owner in self.objects.items() if owner == mark]


def world(systems: Systems, rules: Rules = RULES) -> World:
    """The fakes as a world."""
    return World(
        identity=_Filtered(systems, "keycloak"),
        schemas=_WithDatabaseAccess(systems, "postgres"),
        store=_WithStorageAccess(systems, "s3"),
        infrastructure=_Filtered(systems, "terraform"),
        platforms={"kubernetes": _Filtered(systems, "kubernetes"), "docker": _Filtered(systems, "docker")},
        dns=_Filtered(systems, "dns"),
        billing=_Filtered(systems, "stripe"),
        mailer=_Filtered(systems, "novu"),
        app_plane=_Filtered(systems, "app_plane"),
        records=_Filtered(systems, "postgres"),
        rules=rules,
        clock=SystemClock(),
    )


class _Filtered:
    """One system's view of all objects: `find` shows its own only."""

    def __init__(self, systems: Systems, system: str) -> None:
        self._systems = systems
        self._system = system

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN204
        return getattr(self._systems, name)

    def find(self, *, mark: Mark, call: Call, **_: object) -> Sequence[ObjectRef]:
        return [ref for ref in self._systems.find(mark=mark, call=call) if ref.system == self._system]


class _WithDatabaseAccess(_Filtered):
    def issue_access(self, *, schema: str, mark: Mark, call: Call) -> DatabaseAccess:
        call.before_write()
        return DatabaseAccess("db.example", 5432, "arc_saas", schema, schema, "pw")


class _WithStorageAccess(_Filtered):
    def issue_access(self, *, bucket: str, mark: Mark, call: Call) -> StorageAccess:
        call.before_write()
        return StorageAccess("https://s3.example", "us-east-1", bucket, "AK", "SK")


def _raised(error: Exception | Pending) -> Pending:
    if isinstance(error, Pending):
        return error
    raise error
