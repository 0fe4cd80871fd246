"""Ids in the form of Terraform Cloud, the same ones for the same course of events, and secrets that nobody guesses."""

import hashlib
import secrets

from sandbox.store import Store

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def new_id(store: Store, kind: str) -> str:
    """The next id of the kind, as `ws-4Bx...` with 16 letters and digits."""
    counter = store.get("counter", kind) or {"last": 0}
    counter["last"] += 1
    store.put("counter", kind, counter)
    digest = hashlib.sha256(f"{kind}:{counter['last']}".encode()).digest()
    return f"{kind}-" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:16])


def new_secret() -> str:
    """The part of a URL that is its own permission."""
    return "dmF1bHQ6djE6" + secrets.token_urlsafe(48)
