"""Passwords of users, kept as a salted hash."""

import hashlib
import hmac
import os
from collections.abc import Mapping

ROUNDS = 1_000
"""Of PBKDF2: few, so that the stand-in is quick; nobody's real password belongs in here."""


def kept(password: str) -> dict[str, str]:
    """What is stored for a password."""
    salt = os.urandom(16)
    return {"salt": salt.hex(), "hash": _hash(password, salt)}


def matches(stored: Mapping[str, str] | None, password: str) -> bool:
    """Whether this is the password; False when none has been set."""
    return stored is not None and hmac.compare_digest(stored["hash"], _hash(password, bytes.fromhex(stored["salt"])))


def _hash(password: str, salt: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS).hex()
