"""The tenant's objects as manifests: pure functions from an application to what is sent to the API server.

Names are short because the namespace already says whose they are. Everything carries the mark as labels; the pod
selector does not, for it can never be changed afterwards.
Source: the Kubernetes API reference, and the Pod Security Standards, profile "restricted".
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tenant_pipelines.adapters.kubernetes.configuration import KubernetesConfiguration
from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.ports import Application

Manifest = Mapping[str, Any]

APP = "app"
"""The name of deployment, service, ingress and container."""

SECRET = "app-env"  # noqa: S105 - the name of the object, not its content
SELECTOR = {"app": APP}
POD_SECURITY = {"pod-security.kubernetes.io/enforce": "restricted"}
SECRET_CHECKSUM = "tenant-pipelines/secret-checksum"  # noqa: S105 - the name of an annotation


def namespace(name: str, mark: Mark) -> Manifest:
    """The namespace: born with the mark, so that there is never one of ours without it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": mark.labels() | POD_SECURITY},
    }


def contents(application: Application, mark: Mark, config: KubernetesConfiguration) -> Sequence[Manifest]:
    """Everything inside the namespace, in the order in which it is applied: limits before what they limit."""
    return [
        _quota(application, mark),
        _limits(application, mark),
        _network(application, mark, config),
        _secret(application, mark),
        _service(application, mark),
        _deployment(application, mark, config),
        _ingress(application, mark, config),
    ]


def checksum(secret: Mapping[str, str]) -> str:
    """A fingerprint of the secret for the pod template: pods read it only at their start, so a new one rolls out."""
    return hashlib.sha256(json.dumps(dict(secret), sort_keys=True).encode()).hexdigest()[:32]


def _meta(name: str, application: Application, mark: Mark) -> dict[str, Any]:
    return {"name": name, "namespace": application.name, "labels": mark.labels()}


def _resources(application: Application) -> dict[str, str]:
    return {"cpu": f"{application.cpu}m", "memory": str(application.memory)}


def _quota(application: Application, mark: Mark) -> Manifest:
    # During a rollout a full set of old pods may still be shutting down beside the new one; one more for an operator.
    pods = 2 * application.replicas + 1
    cpu, memory = f"{application.cpu * pods}m", str(application.memory * pods)
    hard = {
        "pods": str(pods),
        "requests.cpu": cpu,
        "limits.cpu": cpu,
        "requests.memory": memory,
        "limits.memory": memory,
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": _meta("tenant", application, mark),
        "spec": {"hard": hard},
    }


def _limits(application: Application, mark: Mark) -> Manifest:
    # Under the quota a pod that names no limits is refused: an operator's debug pod gets these.
    limit = {"type": "Container", "default": _resources(application), "defaultRequest": _resources(application)}
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": _meta("tenant", application, mark),
        "spec": {"limits": [limit]},
    }


def _network(application: Application, mark: Mark, config: KubernetesConfiguration) -> Manifest:
    ingress = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": config.ingress_namespace}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta("only-from-ingress", application, mark),
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [ingress, {"podSelector": {}}]}],
        },
    }


def _secret(application: Application, mark: Mark) -> Manifest:
    # `data`, not `stringData`: with the latter, server-side apply would not remove keys that are no longer there.
    data = {key: base64.b64encode(value.encode()).decode() for key, value in application.secret.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(SECRET, application, mark),
        "type": "Opaque",
        "data": data,
    }


def _service(application: Application, mark: Mark) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(APP, application, mark),
        "spec": {
            "selector": SELECTOR,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def _deployment(application: Application, mark: Mark, config: KubernetesConfiguration) -> Manifest:
    template = {
        "metadata": {
            "labels": SELECTOR | mark.labels(),
            "annotations": {SECRET_CHECKSUM: checksum(application.secret)},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(application, config)],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _meta(APP, application, mark),
        "spec": {
            "replicas": application.replicas,
            "progressDeadlineSeconds": config.progress_deadline,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": SELECTOR},
            "template": template,
        },
    }


def _container(application: Application, config: KubernetesConfiguration) -> Manifest:
    return {
        "name": APP,
        "image": application.image,
        "ports": [{"name": "http", "containerPort": config.port, "protocol": "TCP"}],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "resources": {"requests": _resources(application), "limits": _resources(application)},
        "readinessProbe": {"httpGet": {"path": config.health_path, "port": "http"}, "periodSeconds": 2},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _ingress(application: Application, mark: Mark, config: KubernetesConfiguration) -> Manifest:
    backend = {"service": {"name": APP, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _meta(APP, application, mark),
        "spec": {
            "ingressClassName": config.ingress_class,
            "rules": [{"host": application.host, "http": {"paths": [path]}}],
        },
    }
