"""What the adapter has to be told about the cluster and about the application's habits."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KubernetesConfiguration:
    """One cluster.

    Args:
        url: the API server, as `https://kubernetes.default.svc`.
        token: bearer token of a service account that has the rights of the provisioner's ClusterRole.
        ca_file: PEM file with the authorities that may sign the server's certificate; None for the system's own.
        verify: whether the certificate is checked at all.
        ingress_class: the ingress class that serves the tenants' hosts.
        ingress_namespace: the namespace of that ingress controller; only its pods may reach the application.
        url_template: where people find the application; `{host}` and `{key}` are filled in.
        port: TCP port the application listens on inside its container.
        health_path: HTTP path that answers 200 once the application can serve.
        progress_deadline: seconds without any progress after which a rollout counts as failed.
    """

    url: str
    token: str = field(repr=False)
    ca_file: Path | None = None
    verify: bool = True
    ingress_class: str = "nginx"
    ingress_namespace: str = "ingress-nginx"
    url_template: str = "https://{host}"
    port: int = 8080
    health_path: str = "/healthz"
    progress_deadline: int = 300
