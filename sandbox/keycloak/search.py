"""Searching, with the oddities of the real server."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from sandbox.keycloak.answers import plain

_PAIR = re.compile(r'([^\s:"]+):(?:"([^"]*)"|(\S*))')


def pairs(query: str) -> list[tuple[str, str]]:
    """The pairs of a `q`: `key:value`, `key:"two words"`. What is no pair is passed over, so there may be none."""
    return [(key, quoted or bare) for key, quoted, bare in _PAIR.findall(query)]


def has_pairs(attributes: Mapping[str, Sequence[str]], query: str | None, *, any_case: bool = False) -> bool:
    """Whether the attributes have all pairs of the query. Without a pair everything matches.

    Args: any_case: for users, whose values are compared without regard to case; organizations' are not.
    """
    return all(
        any(value == one or (any_case and value.lower() == one.lower()) for one in attributes.get(key, ()))
        for key, value in pairs(query or "")
    )


def like(pattern: str, text: str | None) -> bool:
    """Whether the text contains the pattern in any case; `*` stands for anything."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return text is not None and re.search(".*".join(parts), text, re.IGNORECASE) is not None


def is_true(params: QueryParams, name: str, *, default: bool = False) -> bool:
    """A boolean parameter, in any case."""
    return params.get(name, str(default)).lower() == "true"


def page(found: Sequence[Any], params: QueryParams, *, size: int) -> list[Any]:
    """The page asked for by `first` and `max`; `size` is what the server gives unasked."""
    first, most = number(params.get("first"), 0), number(params.get("max"), size)
    return list(found[first:] if most < 0 else found[first : first + most])


def number(text: str | None, default: int) -> int:
    """A parameter that is a number; one that is none makes the whole address unknown."""
    try:
        return int(text) if text else default
    except ValueError:
        raise plain(404) from None
