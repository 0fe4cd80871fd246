"""Form bodies with nested keys (`items[0][price]=…`), as Stripe takes them in bodies and in queries."""

import re
from typing import Any
from urllib.parse import parse_qsl

from sandbox.stripe.refusal import Refusal

_KEY = re.compile(r"(?P<name>[^\[\]]+)(?P<rest>(\[[^\[\]]*\])*)")


def parse(text: str) -> dict[str, Any]:
    """The parameters as nested mappings; a list is a mapping with the keys "0", "1", … until its type is known.

    Raises: Refusal when one key is used both for a value and for a mapping.
    """
    parameters: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        _put(parameters, _path(key), value, key)
    return parameters


def _path(key: str) -> list[str]:
    match = _KEY.fullmatch(key)
    return [match["name"], *re.findall(r"\[([^\[\]]*)\]", match["rest"])] if match else [key]


def _put(parameters: dict[str, Any], path: list[str], value: str, key: str) -> None:
    *outer, last = path
    place: Any = parameters
    for name in outer:
        place = place.setdefault(name or str(len(place)), {})
        if not isinstance(place, dict):
            raise Refusal(400, f"Invalid object: {key} is given as a text too", param=path[0])
    if isinstance(place.get(last), dict):
        raise Refusal(400, f"Invalid string: {key} is given as an object too", param=path[0])
    place[last or str(len(place))] = value
