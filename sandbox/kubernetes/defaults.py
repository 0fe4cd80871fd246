"""What the server fills in and what it finds invalid, kind by kind.

Source: the Kubernetes API reference, and recorded answers of v1.35.4.
"""

import base64
import binascii
import hashlib
import json
import re
from typing import Any

from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.statuses import LABEL_RULE, Cause, Json, invalid

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_CONTAINER = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_POD = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_SERVICE = {
    "type": "ClusterIP",
    "sessionAffinity": "None",
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "internalTrafficPolicy": "Cluster",
}


def fill_in(resource: Resource, body: Json) -> None:
    """Give the object the defaults of its kind."""
    spec: Json = body.get("spec") or {}
    match resource.kind:
        case "Namespace":
            body["spec"] = {"finalizers": ["kubernetes"]}
            labels = body["metadata"].setdefault("labels", {})
            labels["kubernetes.io/metadata.name"] = body["metadata"]["name"]
        case "Secret":
            _secret(body)
        case "Pod":
            _pod(spec)
        case "Deployment":
            _deployment(body["spec"])
        case "Service":
            _service(body["spec"], body["metadata"]["uid"])
        case "NetworkPolicy":
            spec.setdefault("policyTypes", ["Ingress"])


def _set(into: Json, defaults: Json) -> None:
    for key, value in defaults.items():
        into.setdefault(key, json.loads(json.dumps(value)))


def _secret(body: Json) -> None:
    texts = body.pop("stringData", None) or {}
    if texts:
        data = body.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in texts.items()})
    body.setdefault("type", "Opaque")


def _deployment(spec: Json) -> None:
    _set(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": {}})
    strategy = spec["strategy"]
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy, {"rollingUpdate": {}})
        _set(strategy["rollingUpdate"], {"maxUnavailable": "25%", "maxSurge": "25%"})
    _pod(spec["template"].setdefault("spec", {}))


def _pod(spec: Json) -> None:
    _set(spec, _POD)
    for container in spec.get("containers") or []:
        _set(container, _CONTAINER)
        image = container.get("image", "")
        latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
        container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            if name in container:
                _set(container[name], _PROBE)
                if "httpGet" in container[name]:
                    _set(container[name]["httpGet"], {"scheme": "HTTP", "path": "/"})


def _service(spec: Json, uid: str) -> None:
    _set(spec, _SERVICE)
    for port in spec.get("ports") or []:
        _set(port, {"protocol": "TCP", "targetPort": port.get("port")})
    if "clusterIP" not in spec:
        digest = hashlib.sha256(uid.encode()).digest()
        spec["clusterIP"] = f"10.96.{digest[0]}.{max(1, digest[1] - 1)}"
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def check(resource: Resource, body: Json, before: Json | None = None) -> None:
    """Raises: Refused with 422 and every cause that was found."""
    causes = [*_metadata(resource, body["metadata"]), *_of_kind(resource, body)]
    if before is not None:
        causes += _immutable(resource, before, body)
    if causes:
        raise invalid(resource.about_kind(body["metadata"].get("name", "")), causes)


def _metadata(resource: Resource, meta: Json) -> list[Cause]:
    causes: list[Cause] = []
    name = meta.get("name")
    if not name:
        why = "Required value: name or generateName is required"
        causes.append(Cause("metadata.name", why, "FieldValueRequired"))
    elif resource.kind in {"Namespace", "Service"}:
        if _LABEL.fullmatch(name) is None or len(name) > 63:
            causes.append(Cause("metadata.name", f"Invalid value: {json.dumps(name)}: {LABEL_RULE}"))
    elif _SUBDOMAIN.fullmatch(name) is None:
        why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
        causes.append(Cause("metadata.name", f"Invalid value: {json.dumps(name)}: {why}"))
    for key, value in (meta.get("labels") or {}).items():
        if _LABEL_KEY.fullmatch(key) is None or len(value) > 63 or _LABEL_VALUE.fullmatch(value) is None:
            why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
            causes.append(Cause("metadata.labels", f"Invalid value: {json.dumps(value)}: {why}"))
    return causes


def _of_kind(resource: Resource, body: Json) -> list[Cause]:
    spec: Json = body.get("spec") or {}
    match resource.kind:
        case "Deployment":
            return _check_deployment(spec)
        case "Pod":
            return _check_pod(spec, "spec")
        case "Service":
            return [] if spec.get("ports") else [_required("spec.ports")]
        case "Secret":
            return [cause for key, value in (body.get("data") or {}).items() for cause in _check_data(key, value)]
        case "Ingress":
            return _check_ingress(spec)
        case _:
            return []


def _required(field: str) -> Cause:
    return Cause(field, "Required value", "FieldValueRequired")


def _check_deployment(spec: Json) -> list[Cause]:
    causes = _check_pod((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not wanted:
        causes.append(_required("spec.selector"))
    elif not wanted.items() <= labels.items():
        shown = json.dumps(labels, separators=(",", ":"))
        why = f"Invalid value: {shown}: `selector` does not match template `labels`"
        causes.append(Cause("spec.template.metadata.labels", why))
    if not isinstance(spec.get("replicas"), int) or spec["replicas"] < 0:
        why = f"Invalid value: {spec.get('replicas')}: must be greater than or equal to 0"
        causes.append(Cause("spec.replicas", why))
    return causes


def _check_pod(spec: Json, where: str) -> list[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        return [_required(f"{where}.containers")]
    return [
        _required(f"{where}.containers[{index}].{field}")
        for index, container in enumerate(containers)
        for field in ("name", "image")
        if not container.get(field)
    ]


def _check_data(key: str, value: Any) -> list[Cause]:
    if _SECRET_KEY.fullmatch(key) is None:
        why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        return [Cause(f"data[{key}]", f"Invalid value: {json.dumps(key)}: {why}")]
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return [Cause(f"data[{key}]", "Invalid value: illegal base64 data")]
    return []


def _check_ingress(spec: Json) -> list[Cause]:
    if not spec.get("rules") and not spec.get("defaultBackend"):
        return [_required("spec")]
    return [
        _required(f"spec.rules[{at}].http.paths[{index}].pathType")
        for at, rule in enumerate(spec.get("rules") or [])
        for index, path in enumerate((rule.get("http") or {}).get("paths") or [])
        if not path.get("pathType")
    ]


def _immutable(resource: Resource, before: Json, after: Json) -> list[Cause]:
    fixed = {"Deployment": ("spec", "selector"), "Service": ("spec", "clusterIP"), "Secret": ("type",)}
    path = fixed.get(resource.kind)
    if path is None:
        return []
    old: Any = before
    new: Any = after
    for part in path:
        old, new = old.get(part), new.get(part)
    if old == new:
        return []
    shown = json.dumps(new, separators=(",", ":"))
    return [Cause(".".join(path), f"Invalid value: {shown}: field is immutable")]
