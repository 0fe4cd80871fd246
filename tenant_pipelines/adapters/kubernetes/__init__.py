"""Kubernetes: one namespace per tenant, with everything that its application needs to run in it."""

from tenant_pipelines.adapters.kubernetes.configuration import KubernetesConfiguration
from tenant_pipelines.adapters.kubernetes.platform import Kubernetes

__all__ = ["Kubernetes", "KubernetesConfiguration"]
