"""Which resources are served, and the discovery documents that tell clients so.

Source: the Kubernetes API reference; the discovery documents of v1.35.4.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.kubernetes.statuses import About, Json

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: `deployments` of group `apps`, and how its objects are called."""

    plural: str
    kind: str
    group: str = ""
    short: tuple[str, ...] = ()
    namespaced: bool = True
    has_generation: bool = False
    has_status: bool = False

    @property
    def group_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/v1" if self.group else "v1"

    def about(self, name: str = "") -> About:
        """For messages about the resource."""
        return About(self.plural, name, self.group)

    def about_kind(self, name: str) -> About:
        """For messages about invalid input, which name the kind instead."""
        return About(self.kind, name, self.group)


RESOURCES: dict[str, Resource] = {
    resource.plural: resource
    for resource in (
        Resource("configmaps", "ConfigMap", short=("cm",)),
        Resource("limitranges", "LimitRange", short=("limits",)),
        Resource("namespaces", "Namespace", short=("ns",), namespaced=False, has_status=True),
        Resource("pods", "Pod", short=("po",), has_generation=True, has_status=True),
        Resource("resourcequotas", "ResourceQuota", short=("quota",), has_status=True),
        Resource("secrets", "Secret"),
        Resource("services", "Service", short=("svc",), has_status=True),
        Resource("deployments", "Deployment", "apps", ("deploy",), has_generation=True, has_status=True),
        Resource("ingresses", "Ingress", "networking.k8s.io", ("ing",), has_generation=True, has_status=True),
        Resource("networkpolicies", "NetworkPolicy", "networking.k8s.io", ("netpol",), has_generation=True),
    )
}

AUTHORIZATION = "authorization.k8s.io"
REVIEWS = Resource("selfsubjectaccessreviews", "SelfSubjectAccessReview", AUTHORIZATION, namespaced=False)
GROUPS = ("apps", "networking.k8s.io", AUTHORIZATION)

VERSION = {
    "major": "1",
    "minor": "35",
    "emulationMajor": "1",
    "emulationMinor": "35",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "34",
    "gitVersion": "v1.35.4",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.8",
    "compiler": "gc",
    "platform": "linux/amd64",
}
"""As the recorded server says it; build details are not claimed."""


def find(group: str, plural: str) -> Resource | None:
    """The resource of that group, or None."""
    resource = RESOURCES.get(plural)
    return resource if resource is not None and resource.group == group else None


def discovery(parts: Sequence[str], host: str) -> Json | None:
    """The discovery document of a path (`/api`, `/apis`, `/api/v1`, `/apis/{group}/v1`), or None."""
    match parts:
        case ["api"]:
            return _api_versions(host)
        case ["apis"]:
            return _api_groups()
        case ["api", "v1"]:
            return _api_resources("")
        case ["apis", group, "v1"]:
            return _api_resources(group)
        case _:
            return None


def _api_versions(host: str) -> Json:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def _api_groups() -> Json:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in GROUPS]}


def _api_resources(group: str) -> Json | None:
    if group and group not in GROUPS:
        return None
    served = [resource for resource in RESOURCES.values() if resource.group == group]
    entries = list(_entries(served))
    if group == AUTHORIZATION:
        entries = [_entry(REVIEWS.plural, REVIEWS.kind, namespaced=False, verbs=["create"])]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": entries,
    }


def _group(name: str) -> Json:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _entries(served: Iterable[Resource]) -> Iterable[Json]:
    for resource in served:
        entry = _entry(resource.plural, resource.kind, namespaced=resource.namespaced, verbs=list(VERBS))
        yield entry | ({"shortNames": list(resource.short)} if resource.short else {})


def _entry(plural: str, kind: str, *, namespaced: bool, verbs: list[str]) -> Json:
    return {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
