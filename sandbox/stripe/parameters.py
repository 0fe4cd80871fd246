"""The types of parameters, and the check that refuses whatever an endpoint does not know (Stripe API, Errors)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.stripe.refusal import Refusal

MOST_METADATA = 50
LONGEST_METADATA_KEY = 40
LONGEST_METADATA_VALUE = 500


@dataclass(frozen=True, slots=True)
class Text:
    """A text. `unset`: an empty one is allowed and takes the value away."""

    longest: int = 5000
    unset: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between the bounds."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """`true` or `false`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Pairs of the caller's own; an empty value takes the pair away, an empty text takes all of them away."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    of: "Kind"
    most: int = 100


@dataclass(frozen=True, slots=True)
class Group:
    """A closed set of named parameters. `unset`: an empty text is allowed and takes the whole group away."""

    fields: Mapping[str, "Kind"] = field(default_factory=dict[str, "Kind"])
    required: tuple[str, ...] = ()
    unset: bool = False


@dataclass(frozen=True, slots=True)
class Moments:
    """A moment in Unix seconds, or a range of moments (`gt`, `gte`, `lt`, `lte`)."""


Kind = Text | Whole | Flag | Choice | Metadata | Items | Group | Moments

_RANGE = Group({"gt": Whole(), "gte": Whole(), "lt": Whole(), "lte": Whole()})


def check(kind: Kind, value: Any, param: str = "") -> Any:
    """The value in its own type. `param` is its name in the form of the request; "" for the whole request.

    Raises: Refusal, worded as Stripe words it.
    """
    match kind:
        case Group():
            return _group(kind, value, param)
        case Items():
            return _items(kind, value, param)
        case Metadata():
            return _metadata(value, param)
        case Moments() if isinstance(value, dict):
            return _group(_RANGE, value, param)
        case Moments():
            return {"is": _whole(Whole(), value, param)}
        case _:
            return _leaf(kind, value, param)


def _leaf(kind: Text | Whole | Flag | Choice, value: Any, param: str) -> Any:
    match kind:
        case Text():
            return _text(kind, value, param)
        case Whole():
            return _whole(kind, value, param)
        case Flag() if value in ("true", "false"):
            return value == "true"
        case Choice() if value in kind.words:
            return value
        case Flag():
            raise Refusal(400, f"Invalid boolean: {_shown(value)}", param=param)
        case Choice():
            raise Refusal(400, f"Invalid {param}: must be one of {', '.join(kind.words)}", param=param)


def _group(kind: Group, value: Any, param: str) -> Any:
    if kind.unset and value == "":
        return None
    if not isinstance(value, dict):
        raise Refusal(400, "Invalid object", param=param)
    for name in value:
        if name not in kind.fields:
            full = _inner(param, name)
            raise Refusal(400, f"Received unknown parameter: {full}", "parameter_unknown", full)
    for name in kind.required:
        if name not in value:
            full = _inner(param, name)
            raise Refusal(400, f"Missing required param: {full}.", "parameter_missing", full)
    return {name: check(kind.fields[name], inner, _inner(param, name)) for name, inner in value.items()}


def _items(kind: Items, value: Any, param: str) -> list[Any]:
    if not isinstance(value, dict) or not all(key.isdigit() for key in value):
        raise Refusal(400, "Invalid array", param=param)
    if len(value) > kind.most:
        raise Refusal(400, f"Array must have at most {kind.most} elements", param=param)
    return [check(kind.of, value[key], f"{param}[{key}]") for key in sorted(value, key=int)]


def _metadata(value: Any, param: str) -> Any:
    if value == "":
        return None
    if not isinstance(value, dict):
        raise Refusal(400, "Invalid object", param=param)
    if len(value) > MOST_METADATA:
        raise Refusal(400, f"Metadata can have at most {MOST_METADATA} keys", param=param)
    for key, inner in value.items():
        full = _inner(param, key)
        if not isinstance(inner, str):
            raise Refusal(400, "Metadata values must be strings", param=full)
        if len(key) > LONGEST_METADATA_KEY or len(inner) > LONGEST_METADATA_VALUE:
            raise Refusal(400, "Metadata keys have at most 40 characters, values at most 500", param=full)
    return dict(value)


def _text(kind: Text, value: Any, param: str) -> str | None:
    if not isinstance(value, str):
        raise Refusal(400, "Invalid string", param=param)
    if value == "":
        if kind.unset:
            return None
        message = f"You passed an empty string for '{param}', which cannot be unset"
        raise Refusal(400, message, "parameter_invalid_empty", param)
    if len(value) > kind.longest:
        raise Refusal(400, f"Invalid string: {_shown(value)}; must be at most {kind.longest} characters", param=param)
    return value


def _whole(kind: Whole, value: Any, param: str) -> int:
    if not isinstance(value, str) or not value.removeprefix("-").isdecimal() or len(value) > 18:
        raise Refusal(400, f"Invalid integer: {_shown(value)}", "parameter_invalid_integer", param)
    number = int(value)
    if kind.least is not None and number < kind.least:
        raise Refusal(400, f"This value must be greater than or equal to {kind.least}.", param=param)
    if kind.most is not None and number > kind.most:
        raise Refusal(400, f"This value must be less than or equal to {kind.most}.", param=param)
    return number


def _inner(param: str, name: str) -> str:
    return f"{param}[{name}]" if param else name


def _shown(value: Any) -> str:
    return value[:80] if isinstance(value, str) else "object"
