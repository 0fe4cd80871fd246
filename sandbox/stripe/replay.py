"""Idempotency keys: what was answered once is answered again (Stripe API, Idempotent requests)."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.stripe.account import Account
from sandbox.stripe.refusal import Refusal

KEPT_FOR = 24 * 3600
"""Seconds after which Stripe may forget a key."""

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Saved:
    """The first answer under a key, a success or an error alike."""

    endpoint: str
    parameters: str
    status: int
    body: dict[str, Any]
    request_id: str
    at: float


class Replays:
    """The answers saved so far, and the keys whose first request is still being carried out."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._running: set[str] = set()

    def before(self, key: str, endpoint: str, parameters: dict[str, Any]) -> Saved | None:
        """The saved answer, or None when the request is to be carried out.

        Raises: Refusal when the key was used for something else, or its first request is still running.
        """
        if len(key) > LONGEST_KEY:
            raise _misused(400, f"Idempotency keys have at most {LONGEST_KEY} characters.")
        if key in self._running:
            message = "There is currently another in-progress request using this Idempotent Key."
            raise _misused(409, message, "idempotency_key_in_use")
        document = self._account.store.get("replay", key)
        saved = Saved(**document) if document else None
        if saved is None or saved.at + KEPT_FOR < self._account.clock():
            return None
        if saved.endpoint != endpoint:
            raise _misused(400, "Keys for idempotent requests can only be used for the same endpoint.")
        if saved.parameters != _digest(parameters):
            raise _misused(400, "Keys for idempotent requests can only be used with the same parameters.")
        return saved

    def begin(self, key: str) -> None:
        """The first request under this key is being carried out."""
        self._running.add(key)

    def end(self, key: str) -> None:
        """It has ended, saved or not."""
        self._running.discard(key)

    def save(self, key: str, answer: Saved) -> None:
        """Remember the answer."""
        self._account.store.put("replay", key, asdict(answer))

    def saved(self, endpoint: str, parameters: dict[str, Any], status: int, body: Any, request_id: str) -> Saved:
        """An answer to be remembered."""
        return Saved(endpoint, _digest(parameters), status, body, request_id, self._account.clock())


def _digest(parameters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def _misused(status: int, message: str, code: str | None = None) -> Refusal:
    return Refusal(status, message, code, type="idempotency_error")
