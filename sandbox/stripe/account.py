"""What every endpoint works on: the documents of one Stripe account, its clock, its ids and its pages."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.store import Document, Store
from sandbox.stripe.parameters import Kind, Moments, Text, Whole
from sandbox.stripe.refusal import missing

Params = dict[str, Any]

LIST: dict[str, Kind] = {
    "limit": Whole(1, 100),
    "starting_after": Text(),
    "ending_before": Text(),
    "created": Moments(),
}
"""The parameters that every list takes."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Account:
    """The documents, and how they are numbered and listed.

    Args:
        clock: Unix seconds.
        search_delay: seconds until a change can be found by search.
    """

    def __init__(self, store: Store, clock: Callable[[], float], search_delay: float) -> None:
        self.store = store
        self.clock = clock
        self.search_delay = search_delay

    def now(self) -> int:
        """This second."""
        return int(self.clock())

    def new_id(self, prefix: str, length: int = 24) -> str:
        """An id in Stripe's form, the next of a fixed series: the same story gives the same ids."""
        counter = self.store.get("counter", prefix) or {"last": 0}
        self.store.put("counter", prefix, {"last": counter["last"] + 1})
        digest = hashlib.sha256(f"{prefix}{counter['last'] + 1}".encode()).digest()
        return prefix + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])

    def keep(self, document: Document) -> Document:
        """Store the document under its own `object` and `id`."""
        return self.store.put(document["object"], document["id"], document)

    def named(self, kind: str, key: str, param: str = "id", status: int = 404) -> Document:
        """The document with that id.

        Raises: Refusal when there is none, or a deleted one.
        """
        document = self.store.get(kind, key)
        if document is None or document.get("deleted"):
            raise missing(kind, key, param, status)
        return document


def with_metadata(document: Document, change: Mapping[str, str] | None) -> dict[str, str]:
    """The document's metadata after the change: pairs are added, empty values take theirs away, None takes all."""
    merged = {**document.get("metadata", {}), **change} if change is not None else {}
    return {key: value for key, value in merged.items() if value != ""}


def page(url: str, documents: Sequence[Document], params: Params) -> Document:
    """The part of the documents, newest first, that the list parameters ask for (Stripe API, Pagination)."""
    moments = params.get("created", {})
    found = [document for document in reversed(documents) if _within(document["created"], moments)]
    limit = params.get("limit", 10)
    if "ending_before" in params:
        end = _place(found, params["ending_before"])
        start = max(0, end - limit)
        return _list(url, found[start:end], more=start > 0)
    start = _place(found, params["starting_after"]) + 1 if "starting_after" in params else 0
    return _list(url, found[start : start + limit], more=len(found) > start + limit)


def _list(url: str, data: Sequence[Document], *, more: bool) -> Document:
    return {"object": "list", "url": url, "has_more": more, "data": list(data)}


def _place(documents: Sequence[Document], key: str) -> int:
    for index, document in enumerate(documents):
        if document["id"] == key:
            return index
    raise missing("object", key, "starting_after", 400)


def _within(moment: int, bounds: Mapping[str, int]) -> bool:
    tests = {
        "is": lambda bound: moment == bound,
        "gt": lambda bound: moment > bound,
        "gte": lambda bound: moment >= bound,
        "lt": lambda bound: moment < bound,
        "lte": lambda bound: moment <= bound,
    }
    return all(tests[name](bound) for name, bound in bounds.items())
