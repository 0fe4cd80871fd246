"""How far a rollout or a deletion has come, told from what its controller has observed.

Source: the Kubernetes documentation, Deployments, section "Deployment status".
"""

from dataclasses import dataclass

from tenant_pipelines.adapters.kubernetes.answers import Deployment, Namespace
from tenant_pipelines.adapters.kubernetes.errors import bounded


@dataclass(frozen=True, slots=True)
class Complete:
    """Every wanted pod is of the newest template and available, and none of an older one is left."""


@dataclass(frozen=True, slots=True)
class Progressing:
    """It goes on.

    Args:
        updated: pods of the newest template. available: pods that serve, old ones among them.
    """

    updated: int
    available: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """No progress within the deadline, as the deployment's controller has found.

    Args:
        refused: why no pod could be made (quota, pod security), in the controller's words, or None.
    """

    refused: str | None


Progress = Complete | Progressing | Stuck


def progress(deployment: Deployment) -> Progress:
    """Where the rollout of this deployment is. A status of an older generation says nothing about this one."""
    if deployment.observed_generation < deployment.generation:
        return Progressing(0, deployment.available, deployment.wanted)
    all_new = deployment.wanted <= deployment.updated and deployment.replicas <= deployment.updated
    if all_new and deployment.available >= deployment.updated:
        return Complete()
    conditions = {condition.type: condition for condition in deployment.conditions}
    going = conditions.get("Progressing")
    if going is not None and going.reason == "ProgressDeadlineExceeded":
        failed = conditions.get("ReplicaFailure")
        return Stuck(bounded(failed.message) if failed is not None and failed.holds else None)
    return Progressing(deployment.updated, deployment.available, deployment.wanted)


def blockers(namespace: Namespace) -> str:
    """What keeps a namespace that is being deleted from going, as far as the namespace controller has said."""
    told = [f"{each.type} ({bounded(each.message)})" for each in namespace.conditions if each.holds]
    if namespace.finalizers:
        told.append(f"its own finalizers ({bounded(', '.join(namespace.finalizers))})")
    return "; ".join(told) or "its contents are being removed"
