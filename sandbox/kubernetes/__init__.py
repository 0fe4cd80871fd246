"""A stand-in for Kubernetes: namespaces with quotas, secrets and services, deployments with their pods, ingresses."""

from sandbox.kubernetes.access import OPERATOR, PROVISIONER, User, kubeconfig
from sandbox.kubernetes.rollout import NO_SUCH_IMAGE, Timing
from sandbox.kubernetes.server import KubernetesStandIn

__all__ = ["NO_SUCH_IMAGE", "OPERATOR", "PROVISIONER", "KubernetesStandIn", "Timing", "User", "kubeconfig"]
