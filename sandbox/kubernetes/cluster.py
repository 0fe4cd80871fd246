"""What the cluster holds: objects with their versions, owners and lives, kept in the store.

Each stored record is an object's `body` with its field `owners`; a deployment's has its `rollout`, and a namespace's
that is being deleted `deleted_at`. Whatever takes time is computed from these times when somebody looks.
"""

import time
import uuid
from collections.abc import Callable, Iterator

from sandbox.kubernetes import admission, defaults, deletion, merging, rollout
from sandbox.kubernetes.merging import Owners
from sandbox.kubernetes.resources import RESOURCES, Resource
from sandbox.kubernetes.rollout import Rollout, Timing, stamp
from sandbox.kubernetes.statuses import Cause, Json, already_exists, conflict, forbidden, not_found
from sandbox.store import Store

FIRST_VERSION = 1000
_UIDS = uuid.UUID("c1a5e000-0000-4000-8000-000000000000")
_GONE = "tombstones"
_TOMBSTONES_KEPT = 200
_STATUSES: dict[str, Json] = {
    "Service": {"status": {"loadBalancer": {}}},
    "Ingress": {"status": {"loadBalancer": {}}},
    "Pod": {"status": {"phase": "Pending", "qosClass": "BestEffort"}},
}
"""The kinds whose status never changes here."""


NAMESPACES = RESOURCES["namespaces"]
DEPLOYMENTS = RESOURCES["deployments"]
PODS = RESOURCES["pods"]


_SERVERS_OWN = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
"""Metadata that no client may set."""


class Cluster:
    """The objects. Bodies that are given out must not be changed by whoever gets them."""

    def __init__(self, store: Store, timing: Timing, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._timing = timing
        self.clock = clock

    @property
    def version(self) -> int:
        """The newest resource version."""
        counter = self._store.get("counter", "version")
        return FIRST_VERSION if counter is None else int(counter["value"])

    def read(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        record = self._record(resource, namespace, name)
        if record is not None:
            return self._shown(resource, record)
        if resource is PODS:
            return next((pod for pod in self._made_pods(namespace) if pod["metadata"]["name"] == name), None)
        return None

    def every(self, resource: Resource, namespace: str) -> list[Json]:
        """All objects of the resource, in one namespace or (empty) in all of them, in the order of their names."""
        found = [
            self._shown(resource, record)
            for record in self._store.all(resource.plural)
            if not namespace or record["body"]["metadata"].get("namespace") == namespace
        ]
        if resource is PODS:
            found += self._made_pods(namespace)
        return sorted(found, key=lambda body: (body["metadata"].get("namespace", ""), body["metadata"]["name"]))

    def records(self) -> Iterator[tuple[Resource, Json]]:
        """Every stored object with its resource."""
        for resource in RESOURCES.values():
            for record in self._store.all(resource.plural):
                yield resource, record["body"]

    def gone_since(self, resource: Resource, version: int) -> list[Json]:
        """The last sight of the objects that were removed after that version."""
        return [
            tombstone["body"]
            for tombstone in self._store.all(_GONE)
            if tombstone["plural"] == resource.plural and tombstone["version"] > version
        ]

    def create(self, resource: Resource, namespace: str, body: Json, manager: str, *, dry_run: bool) -> Json:
        """Make a new object.

        Raises: Refused: 403, 404, 409 or 422.
        """
        name = body.get("metadata", {}).get("name", "")
        self._admit(resource, namespace, name, body)
        existing = self._record(resource, namespace, name)
        if existing is not None:
            raise already_exists(resource.about(name), deleting="deletionTimestamp" in existing["body"]["metadata"])
        owned = Owners()
        owned.give(merging.updating(manager), merging.fields(body), alone=())
        return self._born(resource, namespace, body, owned, dry_run=dry_run)

    def apply(
        self, resource: Resource, namespace: str, body: Json, manager: str, *, force: bool, dry_run: bool
    ) -> tuple[Json, bool]:
        """Server-side apply: the object, and whether it is new.

        Raises: Refused: 403, 404, 409 or 422.
        """
        name = body["metadata"]["name"]
        record = self._record(resource, namespace, name)
        if record is None:
            self._admit(resource, namespace, name, body)
            owned = Owners()
            owned.give(manager, merging.fields(body), alone=())
            return self._born(resource, namespace, body, owned, dry_run=dry_run), True
        owners = Owners(record["owners"])
        merged = merging.apply(record["body"], owners, body, manager, force=force)
        return self._changed(resource, record, merged, owners, dry_run=dry_run), False

    def change(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        edit: Callable[[Json], Json],
        manager: str,
        *,
        dry_run: bool,
    ) -> Json:
        """Replace the object by what `edit` makes of it.

        Raises: Refused: 404, 409 when its resourceVersion is not the newest, 422.
        """
        record = self._record(resource, namespace, name)
        if record is None:
            raise not_found(resource.about(name))
        before = record["body"]
        after = edit(before)
        wanted = after["metadata"].get("resourceVersion")
        if wanted and wanted != before["metadata"]["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(resource.about(name), why)
        kept = {key: before["metadata"][key] for key in _SERVERS_OWN if key in before["metadata"]}
        after = after | {"metadata": {k: v for k, v in after["metadata"].items() if k not in _SERVERS_OWN} | kept}
        owners = Owners(record["owners"])
        owners.changed(merging.updating(manager), merging.fields(before), merging.fields(after))
        return self._changed(resource, record, after, owners, dry_run=dry_run)

    def delete(self, resource: Resource, namespace: str, name: str, options: Json, *, dry_run: bool) -> Json:
        """Delete the object, or begin to; answers its last sight.

        Raises: Refused: 404, or 409 for a precondition.
        """
        record = self._record(resource, namespace, name)
        if record is None:
            made = self.read(resource, namespace, name)  # a deployment's pod: its place is taken at once
            if made is None:
                raise not_found(resource.about(name))
            return made
        deletion.check_preconditions(resource, record["body"]["metadata"], options.get("preconditions") or {})
        if dry_run:
            return self._shown(resource, record)
        if resource is NAMESPACES:
            self._begin_to_delete(record, options)
        elif record["body"]["metadata"].get("finalizers"):
            self._mark_deleted(resource, record)
        else:
            self._bury(resource, record)
        return self._shown(resource, record)

    def settle(self) -> None:
        """Let come true what time has brought about: namespaces that are being deleted lose their contents, and go."""
        for record in self._store.all(NAMESPACES.plural):
            if "deleted_at" in record:
                self._settle_deletion(record, self.clock() - record["deleted_at"])

    def _settle_deletion(self, record: Json, age: float) -> None:
        if age < self._timing.deletion / 2:
            return
        meta = record["body"]["metadata"]
        for resource, inside in list(self._contents(meta["name"])):
            if not inside["body"]["metadata"].get("finalizers"):
                self._bury(resource, inside)
            elif "deletionTimestamp" not in inside["body"]["metadata"]:
                self._mark_deleted(resource, inside)
        held = [name for name in meta.get("finalizers") or [] if name != "foregroundDeletion"]
        if held != (meta.get("finalizers") or []):
            meta["finalizers"] = held
            if not held:
                del meta["finalizers"]
            self._keep(NAMESPACES, record)
        if age >= self._timing.deletion and not held and not any(self._contents(meta["name"])):
            self._bury(NAMESPACES, record)

    def _begin_to_delete(self, record: Json, options: Json) -> None:
        if "deleted_at" in record:
            return
        record["deleted_at"] = self.clock()
        if options.get("propagationPolicy") == "Foreground":
            record["body"]["metadata"].setdefault("finalizers", []).append("foregroundDeletion")
        self._mark_deleted(NAMESPACES, record)

    def _mark_deleted(self, resource: Resource, record: Json) -> None:
        meta = record["body"]["metadata"]
        meta["deletionTimestamp"] = stamp(self.clock())
        if resource is not NAMESPACES:
            meta["deletionGracePeriodSeconds"] = 0
        self._keep(resource, record)

    def _contents(self, namespace: str) -> Iterator[tuple[Resource, Json]]:
        for resource in RESOURCES.values():
            for record in self._store.all(resource.plural):
                if record["body"]["metadata"].get("namespace") == namespace:
                    yield resource, record

    def _admit(self, resource: Resource, namespace: str, name: str, body: Json) -> None:
        """Whether something new may come to be there."""
        if not resource.namespaced:
            return
        home = self._record(NAMESPACES, "", namespace)
        if home is None:
            raise not_found(NAMESPACES.about(namespace))
        if "deleted_at" in home:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("metadata.namespace", f"namespace {namespace} is being terminated", "NamespaceTerminating")
            raise forbidden(resource.about(name), why, [cause])
        if resource is PODS:
            refusal = self._pod_refusal(namespace, body.get("spec") or {}, 1)
            if refusal is not None:
                raise forbidden(resource.about(name), refusal)

    def _pod_refusal(self, namespace: str, spec: Json, pods: int) -> str | None:
        home = self._record(NAMESPACES, "", namespace)
        labels = {} if home is None else home["body"]["metadata"].get("labels") or {}
        why = admission.pod_security(labels, spec)
        if why is not None:
            return why
        limits = self._bodies("limitranges", namespace)
        return admission.over_quota(self._bodies("resourcequotas", namespace), admission.used(spec, limits), pods)

    def _bodies(self, plural: str, namespace: str) -> list[Json]:
        records = self._store.all(plural)
        return [r["body"] for r in records if r["body"]["metadata"].get("namespace") == namespace]

    def _born(self, resource: Resource, namespace: str, body: Json, owners: Owners, *, dry_run: bool) -> Json:
        given = body.get("metadata") or {}
        name, version = given.get("name", ""), self.version + 1
        meta = {key: value for key, value in given.items() if key not in _SERVERS_OWN and value not in ({}, [], None)}
        if resource.namespaced:
            meta["namespace"] = namespace
        meta["uid"] = str(uuid.uuid5(_UIDS, f"{resource.plural}/{namespace}/{name}/{version}"))
        meta["creationTimestamp"] = stamp(self.clock())
        if resource.has_generation:
            meta["generation"] = 1
        body = {"kind": resource.kind, "apiVersion": resource.group_version} | body | {"metadata": meta}
        body.pop("status", None)
        defaults.check(resource, body)
        defaults.fill_in(resource, body)
        record: Json = {"body": body, "owners": owners.as_json()}
        if resource is DEPLOYMENTS:
            record["rollout"] = rollout.begin(None, body, {}, self.clock())
        if not dry_run:
            self._keep(resource, record)
        return self._shown(resource, record, new=True)

    def _changed(self, resource: Resource, record: Json, body: Json, owners: Owners, *, dry_run: bool) -> Json:
        before = record["body"]
        defaults.check(resource, body, before)
        defaults.fill_in(resource, body)
        body.pop("status", None)
        record = record | {"body": body, "owners": owners.as_json()}
        spec_changed = body.get("spec") != before.get("spec")
        rolls = resource is DEPLOYMENTS and spec_changed
        if resource.has_generation and spec_changed:
            body["metadata"]["generation"] = before["metadata"]["generation"] + 1
        if rolls:
            status = self._rollout(record | {"body": before}).status()
            record["rollout"] = rollout.begin(record["rollout"], body, status, self.clock())
        if dry_run or body == before:
            return self._shown(resource, record, new=rolls)
        if (
            "deletionTimestamp" in body["metadata"]
            and not body["metadata"].get("finalizers")
            and "deleted_at" not in record
        ):
            self._bury(resource, record)
        else:
            self._keep(resource, record)
        return self._shown(resource, record, new=rolls)

    def _shown(self, resource: Resource, record: Json, *, new: bool = False) -> Json:
        """The object as it is given out, with its status of this moment; a `new` state nobody has looked at yet."""
        body: Json = record["body"]
        match resource.kind:
            case "Namespace":
                return body | {"status": self._namespace_status(record)}
            case "Deployment":
                return self._shown_deployment(record, new=new)
            case "ResourceQuota":
                return body | {"status": {} if new else self._quota_status(body)}
            case kind:
                return body | _STATUSES.get(kind, {})

    def _shown_deployment(self, record: Json, *, new: bool) -> Json:
        body: Json = record["body"]
        going = self._rollout(record)
        observed = going.observed and not new
        revision = record["rollout"]["revision" if observed else "revision_before"]
        shown = body | {"status": going.status() if observed else record["rollout"]["before"]}
        if revision:
            notes = body["metadata"].get("annotations") or {}
            notes = notes | {"deployment.kubernetes.io/revision": str(revision)}
            shown["metadata"] = body["metadata"] | {"annotations": notes}
        return shown

    def _rollout(self, record: Json) -> Rollout:
        body, going = record["body"], record["rollout"]
        refused = self._pod_refusal(
            body["metadata"]["namespace"], going["template"]["spec"], max(1, body["spec"]["replicas"])
        )
        return Rollout(body, going, refused, self.clock() - going["began"], self._timing)

    def _made_pods(self, namespace: str) -> list[Json]:
        return [
            pod
            for record in self._store.all(DEPLOYMENTS.plural)
            if not namespace or record["body"]["metadata"]["namespace"] == namespace
            for pod in self._rollout(record).pods()
        ]

    def _quota_status(self, body: Json) -> Json:
        namespace, hard = body["metadata"]["namespace"], body["spec"].get("hard") or {}
        limits = self._bodies("limitranges", namespace)
        total: dict[str, float] = {}
        for pod in self._made_pods(namespace):
            for key, amount in admission.used(pod["spec"], limits).items():
                total[key] = total.get(key, 0) + amount
        return {"hard": hard, "used": {key: admission.written(key, total.get(key, 0)) for key in hard}}

    def _namespace_status(self, record: Json) -> Json:
        if "deleted_at" not in record:
            return {"phase": "Active"}
        if self.clock() - record["deleted_at"] < self._timing.deletion / 2:
            return {"phase": "Terminating"}
        left = list(self._contents(record["body"]["metadata"]["name"]))
        return {"phase": "Terminating", "conditions": deletion.what_is_left(left, stamp(record["deleted_at"]))}

    def _record(self, resource: Resource, namespace: str, name: str) -> Json | None:
        return self._store.get(resource.plural, f"{namespace}/{name}" if resource.namespaced else name)

    def _keep(self, resource: Resource, record: Json) -> None:
        version = self.version + 1
        self._store.put("counter", "version", {"value": version})
        meta = record["body"]["metadata"]
        meta["resourceVersion"] = str(version)
        key = f"{meta['namespace']}/{meta['name']}" if resource.namespaced else meta["name"]
        self._store.put(resource.plural, key, record)

    def _bury(self, resource: Resource, record: Json) -> None:
        """Remove it, and remember for a while that it was there: watches want to be told."""
        self._keep(resource, record)
        meta = record["body"]["metadata"]
        key = f"{meta['namespace']}/{meta['name']}" if resource.namespaced else meta["name"]
        self._store.delete(resource.plural, key)
        tombstone = {"plural": resource.plural, "version": self.version, "body": self._shown(resource, record)}
        self._store.put(_GONE, str(self.version), tombstone)
        for old in self._store.all(_GONE)[:-_TOMBSTONES_KEPT]:
            self._store.delete(_GONE, str(old["version"]))
