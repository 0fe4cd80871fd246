"""The field names of the kinds that are served, so that a misspelt one is found as the real server finds it.

Source: the Kubernetes API reference, v1.35. What nobody here sends is accepted unseen below its first level.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.kubernetes.statuses import Json

Shape = Mapping[str, Any]
"""Field name to shape: None takes anything; a list of one shape is a list of such objects; "*" is any key."""


def _fields(names: str, **shapes: Any) -> Shape:
    return dict.fromkeys(names.split()) | shapes


_META = _fields(
    "name generateName namespace labels annotations uid resourceVersion generation creationTimestamp "
    "deletionTimestamp deletionGracePeriodSeconds finalizers ownerReferences managedFields selfLink"
)
_HTTP_GET = _fields("path port scheme host httpHeaders")
_PROBE = _fields(
    "exec grpc tcpSocket initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold "
    "terminationGracePeriodSeconds",
    httpGet=_HTTP_GET,
)
_CONTAINER_SECURITY = _fields(
    "allowPrivilegeEscalation privileged procMount readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser "
    "appArmorProfile seLinuxOptions windowsOptions",
    capabilities=_fields("add drop"),
    seccompProfile=_fields("type localhostProfile"),
)
_CONTAINER = _fields(
    "name image command args workingDir imagePullPolicy lifecycle resizePolicy restartPolicy restartPolicyRules stdin "
    "stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices",
    ports=[_fields("name containerPort protocol hostIP hostPort")],
    env=[_fields("name value valueFrom")],
    envFrom=[_fields("prefix", secretRef=_fields("name optional"), configMapRef=_fields("name optional"))],
    resources=_fields("limits requests claims"),
    volumeMounts=[_fields("name mountPath mountPropagation readOnly recursiveReadOnly subPath subPathExpr")],
    readinessProbe=_PROBE,
    livenessProbe=_PROBE,
    startupProbe=_PROBE,
    securityContext=_CONTAINER_SECURITY,
)
_POD = _fields(
    "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks "
    "ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets "
    "nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims "
    "resources restartPolicy runtimeClassName schedulerName schedulingGates serviceAccount serviceAccountName "
    "setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations "
    "topologySpreadConstraints volumes workloadRef",
    containers=[_CONTAINER],
    initContainers=[_CONTAINER],
    securityContext=_fields(
        "fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser seLinuxChangePolicy seLinuxOptions "
        "supplementalGroups supplementalGroupsPolicy sysctls windowsOptions appArmorProfile",
        seccompProfile=_fields("type localhostProfile"),
    ),
)
_SELECTOR = _fields("matchLabels", matchExpressions=[_fields("key operator values")])
_PEER = _fields("ipBlock", namespaceSelector=_SELECTOR, podSelector=_SELECTOR)
_PORTS = [_fields("port protocol endPort")]
_BACKEND = _fields("resource", service=_fields("name", port=_fields("name number")))

SPECS: Mapping[str, Shape] = {
    "Namespace": _fields("finalizers"),
    "SelfSubjectAccessReview": _fields("nonResourceAttributes resourceAttributes"),
    "Pod": _POD,
    "ResourceQuota": _fields("hard scopes scopeSelector"),
    "LimitRange": _fields("", limits=[_fields("type default defaultRequest max min maxLimitRequestRatio")]),
    "Service": _fields(
        "allocateLoadBalancerNodePorts clusterIP clusterIPs externalIPs externalName externalTrafficPolicy "
        "healthCheckNodePort internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP "
        "loadBalancerSourceRanges publishNotReadyAddresses selector sessionAffinity sessionAffinityConfig "
        "trafficDistribution type",
        ports=[_fields("name port protocol targetPort nodePort appProtocol")],
    ),
    "Deployment": _fields(
        "replicas minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit",
        selector=_SELECTOR,
        strategy=_fields("type", rollingUpdate=_fields("maxSurge maxUnavailable")),
        template={"metadata": _META, "spec": _POD},
    ),
    "NetworkPolicy": _fields(
        "policyTypes",
        podSelector=_SELECTOR,
        ingress=[{"from": [_PEER], "ports": _PORTS}],
        egress=[{"to": [_PEER], "ports": _PORTS}],
    ),
    "Ingress": _fields(
        "ingressClassName",
        defaultBackend=_BACKEND,
        tls=[_fields("hosts secretName")],
        rules=[_fields("host", http={"paths": [_fields("path pathType", backend=_BACKEND)]})],
    ),
}


def shape(kind: str) -> Shape:
    """What an object of the kind may have."""
    top: dict[str, Any] = {"apiVersion": None, "kind": None, "metadata": _META}
    match kind:
        case "Secret":
            return {**top, **_fields("type data stringData immutable")}
        case "ConfigMap":
            return {**top, **_fields("data binaryData immutable")}
        case _:
            return top | {"spec": SPECS[kind], "status": None}


def unknown_fields(kind: str, body: Json) -> list[str]:
    """The fields that the kind does not have, by path (`spec.replicaz`)."""
    return [path for path, _, _ in _unknown(shape(kind), body, "")]


def without_unknown_fields(kind: str, body: Json) -> None:
    """Drop them, as the server does after it has warned."""
    for _, holder, key in list(_unknown(shape(kind), body, "")):
        del holder[key]


def misshapen(kind: str, body: Json) -> str | None:
    """The path of a field that is an object or a list where it should be something else, or None."""
    return next(_misshapen(shape(kind), body, ""), None)


def _misshapen(known: Any, value: Any, path: str) -> Iterator[str]:
    if value is None or known is None:
        return
    if isinstance(known, Mapping) and isinstance(value, dict):
        for key in value.keys() & known.keys():
            yield from _misshapen(known[key], value[key], f"{path}.{key}" if path else key)
    elif isinstance(known, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misshapen(known[0], item, f"{path}[{index}]")
    else:
        yield path


def _unknown(known: Any, value: Any, path: str) -> Iterator[tuple[str, Json, str]]:
    if isinstance(known, Mapping) and isinstance(value, dict):
        for key in list(value):
            here = f"{path}.{key}" if path else key
            if key not in known:
                yield here, value, key
            else:
                yield from _unknown(known[key], value[key], here)
    elif isinstance(known, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(known[0], item, f"{path}[{index}]")
