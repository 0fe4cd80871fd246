"""Personal data in what the ledger keeps of an execution: where it may stand, and the same document without it.

Hidden are e-mail addresses wherever they stand, the names of the tenant's contacts in free text, and in what somebody
else has sent (input, signals) every value under a key that means a person. Who acted (`by`) stays, as in the audit.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "[redacted]"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "execution": ("input", "result", "error", "message", "reason", "cancel_reason"),
    "steps": ("facts", "found", "token", "error"),
    "attempts": ("error",),
    "history": ("details",),
    "signals": ("payload",),
    "left_behind": ("name", "reason"),
}
"""Of a document, by table: what may hold personal data. The queries `rewrite_*` write exactly these."""

_GIVEN = frozenset({"input", "payload"})
_FREE_TEXT = frozenset({"error", "reason", "message", "because", "cancelreason", *_GIVEN})
_ACTORS = frozenset({"by"})
_PERSONAL = frozenset(
    {
        "address",
        "contact",
        "contacts",
        "email",
        "firstname",
        "fullname",
        "lastname",
        "mobile",
        "phone",
        "phonenumber",
        "recipients",
        "username",
    }
)
_LETTER = r"[\w.!#$%*+^`~-]"
_EMAIL = re.compile(rf"(?<!{_LETTER})(?<!{_LETTER}'){_LETTER}+(?:'{_LETTER}+)*(?:@(?!sha256:)|%40)[\w.-]*\w")
"""Tried once for each word: from every letter of it, a log without spaces would take minutes."""


def redacted(document: Mapping[str, Any], people: Iterable[str]) -> dict[str, Any]:
    """The document without personal data; once more: the same.

    Args: people: names and addresses that the tenant's contacts go by; one letter is taken for no name.
    """
    names = _pattern(people)
    return {table: _rows(rows, COLUMNS[table], names) if table in COLUMNS else rows for table, rows in document.items()}


def _rows(rows: Any, columns: tuple[str, ...], names: re.Pattern[str] | None) -> Any:  # noqa: ANN401 - a row or several
    if isinstance(rows, list):
        return [_rows(row, columns, names) for row in rows]
    return {
        column: _hide(value, names, _plain(column), given=column in _GIVEN) if column in columns else value
        for column, value in rows.items()
    }


def _hide(value: Any, names: re.Pattern[str] | None, key: str, *, given: bool) -> Any:  # noqa: ANN401 - whatever JSON is
    match value:
        case Mapping():
            return {name: _hide_under(name, below, names, key, given=given) for name, below in value.items()}
        case list():
            return [_hide(below, names, key, given=given) for below in value]
        case str():
            text = _EMAIL.sub(HIDDEN, value)
            return names.sub(HIDDEN, text) if names and (given or key in _FREE_TEXT) else text
        case _:
            return value


def _hide_under(name: str, value: Any, names: re.Pattern[str] | None, above: str, *, given: bool) -> Any:  # noqa: ANN401
    key = _plain(name)
    if key in _ACTORS:
        return value
    if given and key.removeprefix("admin") in _PERSONAL:
        return _hide_all(value)
    return _hide(value, names, above if above in _FREE_TEXT else key, given=given)


def _hide_all(value: Any) -> Any:  # noqa: ANN401 - whatever JSON is
    match value:
        case Mapping():
            return {name: _hide_all(below) for name, below in value.items()}
        case list():
            return [_hide_all(below) for below in value]
        case None | bool() | "":
            return value
        case _:
            return HIDDEN


def _plain(key: str) -> str:
    return key.replace("_", "").lower()


def _pattern(people: Iterable[str]) -> re.Pattern[str] | None:
    known = {person.strip() for person in people} - {HIDDEN}
    words = {word for person in known if len(person) > 1 for word in (person, quote(person))}
    if not words:
        return None
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
