"""Tables, the form in which kubectl asks for what it prints.

Source: the Kubernetes documentation, API Concepts, section "Receiving resources as Tables".
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.statuses import Json

Cells = Callable[[Json], list[object]]


def wanted(accept: str) -> bool:
    """Whether the client prefers a Table."""
    first = accept.partition(",")[0]
    return "as=Table" in first and "g=meta.k8s.io" in first


def table(resource: Resource, items: Sequence[Json], resource_version: str, now: float) -> Json:
    """These objects as a Table."""
    titles, cells = _COLUMNS.get(resource.kind, ((), lambda _: []))
    columns = [("Name", "string"), *titles, ("Age", "string")]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": resource_version},
        "columnDefinitions": [
            {"name": name, "type": kind, "format": "name" if name == "Name" else "", "description": "", "priority": 0}
            for name, kind in columns
        ],
        "rows": [
            {
                "cells": [item["metadata"]["name"], *cells(item), _age(item, now)],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": item["metadata"],
                },
            }
            for item in items
        ],
    }


def _age(item: Json, now: float) -> str:
    born = datetime.strptime(item["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    seconds = max(0, int(now - born.timestamp()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _deployment(item: Json) -> list[object]:
    status = item.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{item['spec']['replicas']}"
    return [ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]


def _pod(item: Json) -> list[object]:
    containers = (item.get("status") or {}).get("containerStatuses") or []
    ready = f"{sum(c['ready'] for c in containers)}/{len(containers)}"
    reasons = [(c["state"].get("waiting") or {}).get("reason") for c in containers]
    return [ready, next(filter(None, reasons), (item.get("status") or {}).get("phase", "Pending")), 0]


def _namespace(item: Json) -> list[object]:
    return [item["status"]["phase"]]


_COLUMNS: dict[str, tuple[tuple[tuple[str, str], ...], Cells]] = {
    "Deployment": ((("Ready", "string"), ("Up-to-date", "integer"), ("Available", "integer")), _deployment),
    "Pod": ((("Ready", "string"), ("Status", "string"), ("Restarts", "integer")), _pod),
    "Namespace": ((("Status", "string"),), _namespace),
}
