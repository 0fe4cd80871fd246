"""The few facts we read out of the API server's answers, as values.

Source: the Kubernetes API reference: Namespace, Deployment and Pod; absent counts and lists are zero and empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of `status.conditions`; `holds` is status "True"."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace; `finalizers` are those in its metadata, not the one of its spec that every namespace has."""

    name: str
    uid: str
    labels: Mapping[str, str]
    terminating: bool
    finalizers: Sequence[str]
    conditions: Sequence[Condition]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: how many pods are `wanted`, and what its controller has observed, at which generation."""

    labels: Mapping[str, str]
    wanted: int
    generation: int
    observed_generation: int
    replicas: int
    updated: int
    available: int
    conditions: Sequence[Condition]


def namespace(body: Json) -> Namespace:
    """Read a Namespace."""
    meta = body["metadata"]
    return Namespace(
        name=meta["name"],
        uid=meta["uid"],
        labels=meta.get("labels") or {},
        terminating=meta.get("deletionTimestamp") is not None,
        finalizers=meta.get("finalizers") or (),
        conditions=_conditions(body.get("status") or {}),
    )


def deployment(body: Json) -> Deployment:
    """Read a Deployment."""
    meta, status = body["metadata"], body.get("status") or {}
    return Deployment(
        labels=meta.get("labels") or {},
        wanted=body["spec"].get("replicas", 1),
        generation=meta.get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        conditions=_conditions(status),
    )


def waiting(pods: Json) -> Sequence[str]:
    """What the pods of a PodList wait for (`ImagePullBackOff`, `Unschedulable`), each reason once."""
    reasons: set[str] = set()
    for pod in pods.get("items") or []:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or []:
            reasons.add(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))
        reasons |= {each.reason for each in _conditions(status) if each.type == "PodScheduled" and not each.holds}
    return sorted(filter(None, reasons))


def _conditions(status: Json) -> Sequence[Condition]:
    return [
        Condition(each["type"], each["status"] == "True", each.get("reason") or "", each.get("message") or "")
        for each in status.get("conditions") or []
    ]
