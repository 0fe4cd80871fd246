"""What the daemon refuses, and in which words.

Source: Docker Engine API v1.44 and the error texts of the Moby project's daemon.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.docker.containers import status
from sandbox.store import Document

CORES = 8
"""Cores of the pretended host."""

NETWORKS = frozenset({"bridge", "default", "host", "none"})
_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_LEAST_MEMORY = 6 * 1024 * 1024
_POLICIES = frozenset({"", "no", "always", "on-failure", "unless-stopped"})


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """An error answer: its status, and the message as the daemon words it."""

    status: int
    message: str


def check_name(name: str) -> None:
    """Raises: Refused for a name that no container may have."""
    if not _NAME.fullmatch(name):
        raise Refused(400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def check_creation(body: Mapping[str, Any]) -> None:
    """Raises: Refused for a configuration that no container may have."""
    if not body.get("Image"):
        raise Refused(400, "invalid reference format")
    for entry in body.get("Env") or []:
        if not isinstance(entry, str) or entry.startswith("=") or not entry:
            raise Refused(400, f"invalid environment variable: {entry}")
    host = body.get("HostConfig") or {}
    memory, cores = host.get("Memory") or 0, host.get("NanoCpus") or 0
    if memory and memory < _LEAST_MEMORY:
        raise Refused(400, "Minimum memory limit allowed is 6MB")
    if cores < 0 or cores > CORES * 10**9:
        limits = f"range of CPUs is from 0.01 to {CORES}.00, as there are only {CORES} CPUs available"
        raise Refused(400, limits)
    policy = (host.get("RestartPolicy") or {}).get("Name") or ""
    if policy not in _POLICIES:
        raise Refused(400, f"invalid restart policy: unknown policy '{policy}'; use one of 'no', 'always'")


def parse_json(body: bytes, content_type: str) -> dict[str, Any]:
    """The request's body. Raises: Refused for another content type, or for what is not a JSON object."""
    if content_type.partition(";")[0].strip() != "application/json":
        raise Refused(400, f"unsupported Content-Type header ({content_type}): must be 'application/json'")
    try:
        read = json.loads(body)
    except ValueError as error:
        raise Refused(400, "invalid JSON: unexpected end of JSON input") from error
    if not isinstance(read, dict):
        raise Refused(400, "invalid JSON: json: cannot unmarshal into Go value of type struct")
    return read


def parse_filters(text: str | None, known: frozenset[str]) -> dict[str, list[str]]:
    """The `filters` parameter: `{"label": ["a=b"]}`, or in its older form `{"label": {"a=b": true}}`."""
    if not text:
        return {}
    try:
        read = json.loads(text)
        filters = {name: list(values) for name, values in read.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise Refused(400, "invalid filter") from error
    for name in filters:
        if name not in known:
            raise Refused(400, f"invalid filter '{name}'")
    return filters


def keeps(filters: Mapping[str, list[str]]) -> Callable[[Document], bool]:
    """Whether a container passes the filters: every label asked for, any of the names, any of the states."""

    def passes(container: Document) -> bool:
        named = filters.get("name", [])
        wanted = filters.get("status", [])
        ids = filters.get("id", [])
        return (
            has_labels(container["config"]["Labels"], filters.get("label", []))
            and (not named or any(re.search(each, "/" + container["name"]) for each in named))
            and (not wanted or status(container) in wanted)
            and (not ids or any(container["id"].startswith(each) for each in ids))
        )

    return passes


def has_labels(labels: Mapping[str, str], wanted: list[str]) -> bool:
    """Whether all of `name` or `name=value` are among the labels."""
    for each in wanted:
        name, equals, value = each.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True
