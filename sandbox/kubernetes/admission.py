"""Why a pod may not come to be: the namespace's pod security level, and its quota.

Source: the Kubernetes documentation, Pod Security Standards and Resource Quotas. Of the standards those controls are
here that a template is likely to run into.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from sandbox.kubernetes.statuses import Json

LEVEL = "pod-security.kubernetes.io/enforce"

_SUFFIXES = {
    "": 1,
    "m": 0.001,
    **{letter: 1000**power for power, letter in enumerate("kMGT", start=1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")


def pod_security(labels: Mapping[str, str], spec: Json) -> str | None:
    """Why the namespace with these labels does not take the pod, or None."""
    level = labels.get(LEVEL, "privileged")
    found: list[str] = []
    if level in {"baseline", "restricted"}:
        found += _baseline(spec)
    if level == "restricted":
        found += _restricted(spec)
    return f'violates PodSecurity "{level}:latest": {", ".join(found)}' if found else None


def _containers(spec: Json) -> Iterable[tuple[str, Json]]:
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        yield container["name"], container.get("securityContext") or {}


def _baseline(spec: Json) -> Iterable[str]:
    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        yield "host namespaces"
    for name, security in _containers(spec):
        if security.get("privileged"):
            yield f'privileged (container "{name}" must not set securityContext.privileged=true)'


def _restricted(spec: Json) -> Iterable[str]:
    pod = spec.get("securityContext") or {}
    profiles = {"RuntimeDefault", "Localhost"}
    for name, security in _containers(spec):
        container = f'container "{name}" must set securityContext'
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"allowPrivilegeEscalation != false ({container}.allowPrivilegeEscalation=false)"
        if "ALL" not in ((security.get("capabilities") or {}).get("drop") or []):
            yield f'unrestricted capabilities ({container}.capabilities.drop=["ALL"])'
        if not security.get("runAsNonRoot", pod.get("runAsNonRoot")):
            yield f"runAsNonRoot != true (pod or {container}.runAsNonRoot=true)"
        profile = security.get("seccompProfile") or pod.get("seccompProfile") or {}
        if profile.get("type") not in profiles:
            yield f"seccompProfile (pod or {container}.seccompProfile.type to one of RuntimeDefault, Localhost)"


def quantity(text: str | int | float) -> float:
    """The number behind `250m`, `64Mi`, `2`."""
    found = _QUANTITY.fullmatch(str(text))
    return float(found[1]) * _SUFFIXES.get(found[2], 1) if found else 0.0


def written(resource: str, amount: float) -> str:
    """The amount as the server writes it: `200m`, `256Mi`, `2`."""
    if resource.endswith("cpu") and amount % 1:
        return f"{round(amount * 1000)}m"
    for suffix in ("Gi", "Mi", "Ki"):
        if resource.endswith("memory") and amount and amount % _SUFFIXES[suffix] == 0:
            return f"{int(amount / _SUFFIXES[suffix])}{suffix}"
    return f"{int(amount)}"


def used(spec: Json, limit_ranges: Sequence[Json]) -> dict[str, float]:
    """What one pod counts against a quota; a container that says nothing gets the namespace's defaults."""
    total: dict[str, float] = {"pods": 1}
    for container in spec.get("containers") or []:
        for section, default in (("requests", "defaultRequest"), ("limits", "default")):
            named = _defaults(limit_ranges, default) | ((container.get("resources") or {}).get(section) or {})
            for resource, amount in named.items():
                total[f"{section}.{resource}"] = total.get(f"{section}.{resource}", 0) + quantity(amount)
    return total


def _defaults(limit_ranges: Sequence[Json], section: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for limits in limit_ranges:
        for entry in limits["spec"].get("limits") or []:
            if entry.get("type") == "Container":
                found |= entry.get(section) or {}
    return found


def over_quota(quotas: Sequence[Json], pod: Mapping[str, float], pods: int) -> str | None:
    """Why so many of these pods are not allowed, or None."""
    for quota in quotas:
        hard: dict[str, str] = quota["spec"].get("hard") or {}
        name = quota["metadata"]["name"]
        missing = [key for key in hard if key.startswith(("requests.", "limits.")) and key not in pod]
        if missing:
            return f"failed quota: {name}: must specify {','.join(sorted(missing))}"
        over = sorted(key for key, limit in hard.items() if pod.get(key, 0) * pods > quantity(limit))
        if over:
            told = ",".join(f"{key}={pod[key]:g}" for key in over)
            limited = ",".join(f"{key}={hard[key]}" for key in over)
            return f"exceeded quota: {name}, requested: {told}, limited: {limited}"
    return None
