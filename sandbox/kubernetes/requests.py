"""What a request asks for, read strictly: its path, its options, its selectors and its body.

Source: the Kubernetes documentation, API Concepts; recorded answers of v1.35.4.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from sandbox.kubernetes import schema
from sandbox.kubernetes.resources import Resource, find
from sandbox.kubernetes.statuses import (
    About,
    Cause,
    Json,
    Refused,
    bad_request,
    invalid,
    status,
    unknown_resource,
)

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BODY_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names, and what is to be done with it."""

    resource: Resource
    verb: str
    namespace: str
    name: str


def target(request: Request, group: str, parts: list[str]) -> Target:
    """The target of `parts`, the path below the group's version.

    Raises: Refused with 404 or 405.
    """
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces" and find(group, parts[2]) is not None:
        namespace, parts = parts[1], parts[2:]
    elif len(parts) > 2 and parts[0] == "namespaces" and parts[2] not in {"status", "finalize"}:
        raise unknown_resource()
    resource = find(group, parts[0])
    if resource is None or len(parts) > 3 or (len(parts) == 3 and (parts[2] != "status" or not resource.has_status)):
        raise unknown_resource()
    name = parts[1] if len(parts) > 1 else ""
    if resource.plural == "namespaces":
        namespace = name
    if not allowed(request.method, name, namespace, resource, status_only=len(parts) == 3):
        raise Refused(status(405, "the server does not allow this method on the requested resource", About()))
    verb = _VERBS.get(request.method) or ("get" if name else "watch" if _true(request, "watch") else "list")
    return Target(resource, verb, namespace, name)


def allowed(method: str, name: str, namespace: str, resource: Resource, *, status_only: bool) -> bool:
    """Whether the method is served at such a path."""
    if status_only:
        return method == "GET"
    if name:
        return method in {"GET", "PUT", "PATCH", "DELETE"}
    return method == "GET" or (method == "POST" and (bool(namespace) or not resource.namespaced))


def _true(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in {"1", "true"}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a write."""

    manager: str
    dry_run: bool
    force: bool
    validation: str


def options(request: Request, kind: str) -> Options:
    """The write options in the query; `kind` is what the server calls them (`PatchOptions`).

    Raises: Refused with 422.
    """
    query, about = request.query_params, About(kind, "", "meta.k8s.io")
    dry_run = query.getlist("dryRun")
    if any(value != "All" for value in dry_run):
        message = f'Unsupported value: {json.dumps(dry_run)}: supported values: "All"'
        raise invalid(about, [Cause("dryRun", message, "FieldValueNotSupported")])
    validation = query.get("fieldValidation") or "Warn"
    if validation not in {"Ignore", "Warn", "Strict"}:
        message = f'Unsupported value: {json.dumps(validation)}: supported values: "Ignore", "Strict", "Warn"'
        raise invalid(about, [Cause("fieldValidation", message, "FieldValueNotSupported")])
    manager = query.get("fieldManager", "")
    if not manager and _media(request) == APPLY:
        raise invalid(
            about, [Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")]
        )
    agent = request.headers.get("user-agent", "unknown").partition("/")[0]
    return Options(manager or agent, bool(dry_run), _true(request, "force"), validation)


def _media(request: Request) -> str:
    return request.headers.get("content-type", JSON).partition(";")[0].strip()


async def body(request: Request, resource: Resource) -> Json:
    """The object in the body of a create or an update.

    Raises: Refused with 415 or 400.
    """
    if _media(request) != JSON:
        message = "the body of the request was in an unknown format - accepted media types include: " + _BODY_TYPES
        raise Refused(status(415, message))
    return _of_kind(_object(await request.body()), resource)


async def patch(request: Request, resource: Resource) -> tuple[str, Json | list[Json]]:
    """The patch in the body, with its kind.

    Raises: Refused with 415 or 400.
    """
    media = _media(request)
    if media == JSON_PATCH:
        operations = _parsed(await request.body())
        if not isinstance(operations, list):
            raise bad_request("error decoding patch: json: cannot unmarshal object into Go value")
        return media, operations
    if media not in {APPLY, MERGE, STRATEGIC}:
        accepted = ", ".join((JSON_PATCH, MERGE, STRATEGIC, APPLY))
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise Refused(status(415, message))
    found = _object(await request.body())
    return media, _of_kind(found, resource, needed=True) if media == APPLY else found


async def delete_options(request: Request) -> Json:
    """How to delete: the body's options, or the query's when there is no body; never both."""
    raw = await request.body()
    if raw:
        return _object(raw)
    policy = request.query_params.get("propagationPolicy")
    return {"propagationPolicy": policy} if policy else {}


def _object(raw: bytes) -> Json:
    found = _parsed(raw)
    if not isinstance(found, dict):
        raise bad_request("couldn't get version/kind; json parse error: cannot unmarshal into Go value of type struct")
    return found


def _parsed(raw: bytes) -> object:
    try:
        found: object = json.loads(raw)
    except ValueError as error:
        raise bad_request(f"error decoding: {error}") from error
    return found


def _of_kind(found: Json, resource: Resource, *, needed: bool = False) -> Json:
    kind, version = found.get("kind", ""), found.get("apiVersion", "")
    if needed and not (kind and version):
        raise bad_request("Object 'Kind' is missing in the request: apiVersion and kind must be set")
    if kind and kind != resource.kind:
        package = resource.group.partition(".")[0] or "core"
        raise bad_request(
            f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {resource.kind}: '
            f"converting (v1.{kind}) to ({package}.{resource.kind}): unknown conversion"
        )
    wrong = schema.misshapen(resource.kind, found)
    if wrong is not None:
        raise bad_request(
            f'{resource.kind} in version "v1" cannot be handled as a {resource.kind}: '
            f"json: cannot unmarshal value into Go struct field {resource.kind}.{wrong}"
        )
    if version and version != resource.group_version:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.group_version})"
        )
    return found


def same_place(found: Json, wanted: Target) -> None:
    """Raises: Refused with 400 when the object names another place than the path."""
    meta = found.setdefault("metadata", {})
    namespace = meta.get("namespace")
    if wanted.resource.namespaced and namespace and namespace != wanted.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    name = meta.setdefault("name", wanted.name) if wanted.name else meta.get("name")
    if wanted.name and name != wanted.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({wanted.name})")


def known_fields(found: Json, resource: Resource, validation: str) -> list[str]:
    """The warnings about unknown fields, which are dropped.

    Raises: Refused with 400 when the request is to be strict.
    """
    unknown = [f'unknown field "{path}"' for path in schema.unknown_fields(resource.kind, found)]
    if unknown and validation == "Strict":
        raise bad_request(
            f'{resource.kind} in version "v1" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {', '.join(unknown)}"
        )
    schema.without_unknown_fields(resource.kind, found)
    return unknown if validation == "Warn" else []


def selected(request: Request) -> Callable[[Json], bool]:
    """What the label and field selectors let through.

    Raises: Refused with 400.
    """
    labels = [_label_rule(rule) for rule in _split(request.query_params.get("labelSelector", ""))]
    fields = [_field_rule(rule) for rule in _split(request.query_params.get("fieldSelector", ""))]
    return lambda found: all(rule(found) for rule in (*labels, *fields))


def _split(selector: str) -> list[str]:
    return [rule.strip() for rule in re.split(r",(?![^(]*\))", selector) if rule.strip()]


def _label_rule(rule: str) -> Callable[[Json], bool]:
    def labels(found: Json) -> dict[str, str]:
        return found["metadata"].get("labels") or {}

    if among := re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", rule):
        values = {value.strip() for value in among[3].split(",")}
        return lambda found: (labels(found).get(among[1]) in values) is (among[2] == "in")
    if equal := re.fullmatch(r"([^=!\s]+)\s*(==?|!=)\s*(\S*)", rule):
        return lambda found: (labels(found).get(equal[1]) == equal[3]) is (equal[2] != "!=")
    if there := re.fullmatch(r"(!?)([^=!\s]+)", rule):
        return lambda found: (there[2] in labels(found)) is not bool(there[1])
    raise bad_request(f"unable to parse requirement: found '{rule}'")


def _field_rule(rule: str) -> Callable[[Json], bool]:
    found = re.fullmatch(r"metadata\.(name|namespace)(==?|!=)(.*)", rule)
    if found is None:
        raise bad_request(f"field label not supported: {rule}")
    key, operator, value = found.groups()
    return lambda body: (body["metadata"].get(key, "") == value) is (operator != "!=")


def page(request: Request, found: list[Json]) -> tuple[list[Json], Json]:
    """The page that `limit` and `continue` ask for, and what its list's metadata says about the rest.

    Raises: Refused with 400.
    """
    start = _continued(request.query_params.get("continue", ""))
    rest = [item for item in found if _place(item) > start]
    limit = request.query_params.get("limit", "0")
    size = int(limit) if limit.isdigit() else 0
    if not size or len(rest) <= size:
        return rest, {}
    token = base64.urlsafe_b64encode(json.dumps(_place(rest[size - 1])).encode()).decode()
    return rest[:size], {"continue": token, "remainingItemCount": len(rest) - size}


def _place(item: Json) -> list[str]:
    return [item["metadata"].get("namespace", ""), item["metadata"]["name"]]


def _continued(token: str) -> list[str]:
    if not token:
        return ["", ""]
    try:
        place: list[str] = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
    return place
