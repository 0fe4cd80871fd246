"""Access tokens: JWTs that carry all there is to know, so that they are good after a restart without being kept.

They are signed with a secret of the stand-in's own (HS256); a real server signs with a key pair.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from sandbox.store import Store


class Tokens:
    """Issues tokens and reads them again."""

    def __init__(self, store: Store) -> None:
        kept = store.get("secret", "tokens") or store.put("secret", "tokens", {"key": secrets.token_hex(32)})
        self._key = bytes.fromhex(kept["key"])
        self.key_id = hashlib.sha256(self._key).hexdigest()[:16]

    def issue(self, claims: dict[str, Any], seconds: int) -> str:
        """A token that is good for so many seconds."""
        now = int(time.time())
        head = {"alg": "HS256", "typ": "JWT", "kid": self.key_id}
        text = f"{_encode(head)}.{_encode({'exp': now + seconds, 'iat': now, 'jti': secrets.token_hex(8), **claims})}"
        return f"{text}.{self._sign(text)}"

    def read(self, token: str) -> dict[str, Any] | None:
        """What the token says; None when it is not ours or not good any more."""
        text, _, signature = token.rpartition(".")
        if not text.isascii() or not hmac.compare_digest(signature.encode(), self._sign(text).encode()):
            return None
        claims: dict[str, Any] = json.loads(urlsafe_b64decode(_padded(text.partition(".")[2])))
        return claims if claims["exp"] > time.time() else None

    def _sign(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(part: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _padded(part: str) -> str:
    return part + "=" * (-len(part) % 4)
