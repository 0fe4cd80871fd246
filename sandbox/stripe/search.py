"""Stripe's search query language, and the index that lags behind (Stripe API, Search; Search query language)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.store import Document
from sandbox.stripe.account import Account
from sandbox.stripe.refusal import Refusal

_CLAUSE = re.compile(
    r"""\s*(?P<joint>AND\b|OR\b)?\s*(?P<not>-)?
    (?P<field>[a-z_]+)(\[(?P<quote>["'])(?P<key>[^"'\]]+)(?P=quote)\])?
    \s*(?P<operator>:|~|>=|<=|>|<)\s*
    (?P<value>null|-?\d+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""",
    re.VERBOSE,
)
_TEXTS = ("email", "name", "phone")
_INDEXED = ("created", *_TEXTS, "metadata")


@dataclass(frozen=True, slots=True)
class _Clause:
    field: str
    key: str | None
    operator: str
    value: str | None
    negated: bool

    def holds(self, entry: Document) -> bool:
        return self._matches(entry) != self.negated

    def _matches(self, entry: Document) -> bool:
        found = entry["metadata"].get(self.key) if self.field == "metadata" else entry.get(self.field)
        if self.value is None or found is None:
            return found is None and self.value is None
        if self.field == "created":
            return _NUMBERS[self.operator](found, int(self.value))
        if self.field == "metadata":
            return bool(found == self.value)
        if self.operator == "~":
            return self.value.lower() in found.lower()
        return bool(found.lower() == self.value.lower())


_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    ":": lambda found, wanted: found == wanted,
    ">": lambda found, wanted: found > wanted,
    "<": lambda found, wanted: found < wanted,
    ">=": lambda found, wanted: found >= wanted,
    "<=": lambda found, wanted: found <= wanted,
}


def parse(query: str) -> Callable[[Document], bool]:
    """What the query asks of an entry of the index.

    Raises: Refusal for anything that the language does not have (AND and OR cannot be mixed).
    """
    clauses: list[_Clause] = []
    joints: set[str] = set()
    rest = query.strip()
    while rest:
        match = _CLAUSE.match(rest)
        if match is None or (match["joint"] is not None) > bool(clauses):
            raise _misread(query)
        if clauses:
            joints.add(match["joint"] or "AND")
        clauses.append(_clause(match, query))
        rest = rest[match.end() :].strip()
    if not clauses or len(joints) > 1:
        raise _misread(query)
    combine = any if joints == {"OR"} else all
    return lambda entry: combine(clause.holds(entry) for clause in clauses)


def _clause(match: re.Match[str], query: str) -> _Clause:
    name, key, operator, raw = match["field"], match["key"], match["operator"], match["value"]
    number = raw.removeprefix("-").isdigit()
    fits = (
        (name == "metadata" and key is not None and operator == ":" and not number)
        or (name in _TEXTS and key is None and operator in (":", "~") and not number)
        or (name == "created" and key is None and operator in _NUMBERS and number)
    )
    if not fits or (raw == "null" and operator != ":"):
        raise _misread(query)
    value = raw if number else None if raw == "null" else re.sub(r"\\(.)", r"\1", raw[1:-1])
    return _Clause(name, key, operator, value, match["not"] is not None)


def _misread(query: str) -> Refusal:
    return Refusal(400, f"We were unable to parse your search query. `{query[:200]}`", param="query")


def index(account: Account, customer: Document) -> None:
    """Note how the customer looks from now on, for searches made once the delay is over."""
    entry = None if customer.get("deleted") else {name: customer[name] for name in _INDEXED}
    key = customer["id"]
    states: list[Any] = (account.store.get("index", key) or {"states": []})["states"]
    seen_by_now = [state for state in states if state[0] + account.search_delay <= account.clock()]
    kept = seen_by_now[-1:] + states[len(seen_by_now) :]
    account.store.put("index", key, {"id": key, "states": [*kept, [account.clock(), entry]]})


def search(account: Account, query: str) -> list[Document]:
    """The customers, as they are now, whose entry in the index fits the query."""
    fits = parse(query)
    found: list[Document] = []
    for document in account.store.all("index"):
        visible = [entry for at, entry in document["states"] if at + account.search_delay <= account.clock()]
        customer = account.store.get("customer", document["id"])
        if visible and visible[-1] is not None and customer and not customer.get("deleted") and fits(visible[-1]):
            found.append(customer)
    return found
