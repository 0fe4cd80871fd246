"""Deleting: whether it is the right object, and what a namespace that cannot go says about it.

Source: recorded answers of v1.35.4, and the Kubernetes documentation, Finalizers.
"""

from collections.abc import Sequence

from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.statuses import Json, conflict


def check_preconditions(resource: Resource, meta: Json, wanted: Json) -> None:
    """Raises: Refused with 409 when the object is not the one that was meant."""
    told = {"uid": "UID", "resourceVersion": "ResourceVersion"}
    for key, word in told.items():
        if wanted.get(key) and wanted[key] != meta[key]:
            why = (
                f"the {word} in the precondition ({wanted[key]}) does not match the {word} in record ({meta[key]}). "
                "The object might have been deleted and then recreated"
            )
            raise conflict(resource.about(meta["name"]), why)


def what_is_left(left: Sequence[tuple[Resource, Json]], when: str) -> list[Json]:
    """The conditions of a namespace that is being deleted; `left` are the objects that are still in it."""
    counts: dict[str, int] = {}
    holds: dict[str, int] = {}
    for resource, record in left:
        named = f"{resource.plural}.{resource.group}"
        counts[named] = counts.get(named, 0) + 1
        for finalizer in record["body"]["metadata"].get("finalizers") or []:
            holds[finalizer] = holds.get(finalizer, 0) + 1
    remaining = ", ".join(f"{name} has {count} resource instances" for name, count in counts.items())
    held = ", ".join(f"{name} in {count} resource instances" for name, count in holds.items())
    stays = (
        ("SomeResourcesRemain", f"Some resources are remaining: {remaining}")
        if counts
        else ("ContentRemoved", "All content successfully removed")
    )
    held_by = (
        ("SomeFinalizersRemain", f"Some content in the namespace has finalizers remaining: {held}")
        if holds
        else ("ContentHasNoFinalizers", "All content-preserving finalizers finished")
    )
    found = [
        ("NamespaceDeletionDiscoveryFailure", False, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            False,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", bool(counts), *stays),
        ("NamespaceFinalizersRemaining", bool(holds), *held_by),
    ]
    return [
        {
            "type": kind,
            "status": "True" if true else "False",
            "lastTransitionTime": when,
            "reason": reason,
            "message": message,
        }
        for kind, true, reason, message in found
    ]
