"""Patches: server-side apply with its field owners, and the merge and JSON patches that kubectl sends.

An object is taken apart into its fields, each a path to a value. A list whose items have a key (containers by name) is
taken apart too; any other list is one field.
Source: the Kubernetes documentation, Server-Side Apply; RFC 7386 (merge patch); RFC 6902 (JSON patch).
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox.kubernetes.statuses import About, Cause, Json, Refused, bad_request, status

Path = tuple[str, ...]
Fields = dict[Path, Any]

_LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
}
_ATOMIC = frozenset({"selector", "nodeSelector", "podSelector"})
_NOT_OWNED: tuple[Path, ...] = (
    ("apiVersion",),
    ("kind",),
    *(("metadata", name) for name in ("name", "namespace", "uid", "resourceVersion", "generation")),
    *(("metadata", name) for name in ("creationTimestamp", "deletionTimestamp", "managedFields")),
)


class Owners:
    """Which manager owns which fields. Kept as lists, so that it can be stored as JSON.

    A manager that applies and the same manager when it updates count as two, as on the real server.
    """

    def __init__(self, stored: Mapping[str, list[list[str]]] | None = None) -> None:
        self._fields = {name: {tuple(path) for path in paths} for name, paths in (stored or {}).items()}

    def as_json(self) -> dict[str, list[list[str]]]:
        """For the store."""
        return {name: sorted(map(list, paths)) for name, paths in self._fields.items() if paths}

    def of(self, manager: str) -> set[Path]:
        """What this manager owns."""
        return self._fields.get(manager, set())

    def others(self, manager: str, path: Path) -> list[str]:
        """Who else owns the field."""
        return [name for name, paths in self._fields.items() if name != manager and path in paths]

    def give(self, manager: str, paths: Iterable[Path], *, alone: Iterable[Path]) -> None:
        """The manager owns exactly these paths from now on; those in `alone` nobody else does."""
        taken = set(alone)
        for name in self._fields:
            if name != manager:
                self._fields[name] -= taken
        self._fields[manager] = set(paths)

    def changed(self, manager: str, before: Fields, after: Fields) -> None:
        """An update or patch by the manager made this difference: what it has set is its own now."""
        written = {path for path, value in after.items() if before.get(path, _NOTHING) != value}
        gone = before.keys() - after.keys()
        for name in self._fields:
            self._fields[name] -= written | gone
        self._fields[manager] = self.of(manager) | written


_NOTHING = object()


def updating(manager: str) -> str:
    """The name under which a manager owns what it did not apply."""
    return f"{manager}/Update"


def fields(body: Json) -> Fields:
    """The fields of an object that somebody can own."""
    return {path: value for path, value in _flatten(body, "", ()) if not any(path[: len(p)] == p for p in _NOT_OWNED)}


def apply(live: Json, owners: Owners, wanted: Json, manager: str, *, force: bool) -> Json:
    """The object after a server-side apply; `owners` is brought up to date.

    Raises: Refused with 409 and the conflicts, unless forced.
    """
    now, new = fields(live), fields(wanted)
    clashes = {path: others for path in new if now.get(path) != new[path] and (others := owners.others(manager, path))}
    if clashes and not force:
        raise _conflict(clashes, live["apiVersion"])
    merged = copy.deepcopy(live)
    for path in owners.of(manager) - new.keys():
        if not owners.others(manager, path):
            _remove(merged, path[:-1] if _is_key(path) else path)
    for path, value in new.items():
        _set(merged, path, value)
    owners.give(manager, new, alone=clashes)
    return merged


def merge_patch(live: Json, patch: Json, *, strategic: bool) -> Json:
    """RFC 7386; a strategic one merges lists whose items have a key instead of replacing them."""
    merged = copy.deepcopy(live)
    _merge(merged, patch, strategic)
    return merged


def json_patch(live: Json, operations: Sequence[Json]) -> Json:
    """RFC 6902: add, replace, remove and test."""
    merged = copy.deepcopy(live)
    for operation in operations:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
        try:
            _operate(_walk(merged, parents), last, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise Refused(status(422, "the server rejected our request due to an error in our request")) from error
    return merged


def _operate(holder: Any, key: str, operation: Json) -> None:
    at: Any = key if isinstance(holder, dict) else len(holder) if key == "-" else int(key)
    match operation["op"]:
        case "add" if isinstance(holder, list):
            holder.insert(at, operation["value"])
        case "add":
            holder[at] = operation["value"]
        case "replace":
            holder[at]  # what is to be replaced must be there
            holder[at] = operation["value"]
        case "remove":
            del holder[at]
        case "test" if holder[at] != operation["value"]:
            raise ValueError("test failed")
        case "test":
            pass
        case other:
            raise bad_request(f"Unexpected kind: {other}")


def _walk(body: Any, parents: Iterable[str]) -> Any:
    for part in parents:
        body = body[part] if isinstance(body, dict) else body[int(part)]
    return body


def _merge(into: Json, patch: Json, strategic: bool) -> None:
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, strategic)
        elif strategic and isinstance(value, list) and isinstance(into.get(key), list) and _keys(key, value):
            _merge_lists(into[key], value, _keys(key, value))
        else:
            into[key] = copy.deepcopy(value)


def _merge_lists(into: list[Any], patch: list[Any], keys: tuple[str, ...]) -> None:
    for item in patch:
        same = next((old for old in into if _key(old, keys) == _key(item, keys)), None)
        if same is None:
            into.append(copy.deepcopy(item))
        else:
            _merge(same, item, strategic=True)


def _conflict(clashes: Mapping[Path, list[str]], version: str) -> Refused:
    found = [(_manager(other, version), _printed(path)) for path, others in clashes.items() for other in others]
    causes = [Cause(where, f"conflict with {who}", "FieldManagerConflict") for who, where in found]
    many = "s" if len(found) > 1 else ""
    if many:
        told = "\n".join(f"- {where} (conflict with {who})" for who, where in found)
    else:
        told = f"conflict with {found[0][0]}: {found[0][1]}"
    message = f"Apply failed with {len(found)} conflict{many}: {told}"
    return Refused(status(409, message, About(), reason="Conflict", causes=causes))


def _manager(owner: str, version: str) -> str:
    name, _, updates = owner.partition("/")
    return f'"{name}" using {version}' if updates else f'"{name}"'


def _printed(path: Path) -> str:
    return "".join(part if part.startswith("[") else f".{part}" for part in path)


def _keys(field: str, value: list[Any]) -> tuple[str, ...]:
    """The key fields of a list's items; empty where the list is one field."""
    if not value or not all(isinstance(item, dict) for item in value):
        return ()
    if field == "ports":
        return ("containerPort", "protocol") if "containerPort" in value[0] else ("port", "protocol")
    return _LIST_KEYS.get(field, ())


def _key(item: Json, keys: tuple[str, ...]) -> str:
    shown = (f'{key}="{item.get(key, "TCP" if key == "protocol" else "")}"' for key in keys)
    return f"[{','.join(shown)}]"


def _is_key(path: Path) -> bool:
    """Whether the field is what tells an item from the others: without it the whole item goes."""
    return len(path) > 1 and path[-2].startswith("[") and f"{path[-1]}=" in path[-2]


def _flatten(value: Any, field: str, path: Path) -> Iterable[tuple[Path, Any]]:
    if isinstance(value, dict) and value and field not in _ATOMIC:
        for key, inner in value.items():
            yield from _flatten(inner, key, (*path, key))
    elif isinstance(value, list) and (keys := _keys(field, value)):
        for item in value:
            yield from _flatten(item, "", (*path, _key(item, keys)))
    else:
        yield path, value


def _set(body: Json, path: Path, value: Any) -> None:
    holder: Any = body
    for index, part in enumerate(path[:-1]):
        following = path[index + 1]
        if part.startswith("["):
            holder = _item(holder, path[index - 1], part)
        elif following.startswith("["):
            if not isinstance(holder.get(part), list):
                holder[part] = []
            holder = holder[part]
        else:
            if not isinstance(holder.get(part), dict):
                holder[part] = {}
            holder = holder[part]
    holder[path[-1]] = copy.deepcopy(value)


def _item(items: list[Any], field: str, key: str) -> Json:
    found: Json | None = next((item for item in items if _key(item, _keys(field, [item])) == key), None)
    if found is not None:
        return found
    created: Json = dict(_parsed(part) for part in key[1:-1].split('",'))
    items.append(created)
    return created


def _parsed(part: str) -> tuple[str, Any]:
    name, _, value = part.partition("=")
    text = value.strip('"')
    return name, int(text) if name.lower().endswith("port") else text


def _remove(body: Json, path: Path) -> None:
    """Take the field away, and whatever it leaves empty."""
    trail: list[tuple[Any, Any]] = []
    holder: Any = body
    for index, part in enumerate(path):
        if part.startswith("["):
            at: Any = next((i for i, it in enumerate(holder) if _key(it, _keys(path[index - 1], [it])) == part), None)
        else:
            at = part if isinstance(holder, dict) and part in holder else None
        if at is None:
            return
        trail.append((holder, at))
        holder = holder[at]
    first = True
    for holder, at in reversed(trail):
        if first or holder[at] in ({}, []):
            del holder[at]
        first = False
