"""What a Terraform state says: its outputs and its resources, and nothing of their other attributes.

Source: the state file of Terraform 1.x (format version 4); its `sensitive_attributes` name what must not be shown.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class State:
    """The part of a state that may be shown.

    Args:
        outputs: the outputs that are not sensitive; anything but a text as JSON.
        resources: managed resources, address to id.
    """

    outputs: Mapping[str, str]
    resources: Mapping[str, str]


NOTHING = State({}, {})


def parsed(content: bytes) -> State:
    """The state in a state file. Raises: ValueError, LookupError, TypeError when it is none."""
    document = json.loads(content)
    if document.get("version") != 4:
        raise ValueError("not a Terraform state of format version 4")
    outputs = {
        name: value if isinstance(value := output["value"], str) else json.dumps(value)
        for name, output in document.get("outputs", {}).items()
        if not output.get("sensitive", False)
    }
    return State(outputs, dict(_resources(document)))


def _resources(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for resource in document.get("resources", []):
        if resource["mode"] != "managed":
            continue
        module = f"{resource['module']}." if resource.get("module") else ""
        for instance in resource.get("instances", []):
            address = f"{module}{resource['type']}.{resource['name']}{_index(instance)}"
            yield address, _id(instance) or address


def _index(instance: Mapping[str, Any]) -> str:
    index = instance.get("index_key")
    number = "" if index is None else f"[{json.dumps(index)}]"
    return f"{number} (deposed {instance['deposed']})" if instance.get("deposed") else number


def _id(instance: Mapping[str, Any]) -> str | None:
    hidden = (path[0].get("value") for path in instance.get("sensitive_attributes", []) if path)
    attributes = instance.get("attributes") or {}
    found = attributes.get("id")
    return found if isinstance(found, str) and "id" not in hidden else None
