"""One environment of one organization: its workflows, its subscribers, and what a triggered event leads to."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.novu.refusal import Refusal, invalid
from sandbox.store import Document, Store

WORKFLOWS = {
    "tenant-welcome": "Welcome to {tenantName}",
    "tenant-provisioning-failed": "{tenantName} could not be set up",
    "tenant-deprovisioning": "{tenantName} will be closed",
}
"""The workflows that are there from the start, with the subjects of their mails."""

OWNER = {"_organizationId": "0" * 23 + "1", "_environmentId": "0" * 23 + "2"}

_SUBSCRIBER_ID = re.compile(r"[A-Za-z0-9_\-.@]{1,200}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*")
_PROFILE = ("firstName", "lastName", "email", "phone", "avatar", "locale", "timezone", "data")


class Environment:
    """The documents. `clock`: Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self.clock = clock
        for name, subject in WORKFLOWS.items():
            if store.get("workflow", name) is None:
                store.put("workflow", name, {"id": self._new_id(), "subject": subject, "active": True})

    def now(self) -> str:
        """This moment as Novu writes it."""
        moment = datetime.fromtimestamp(self.clock(), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def subscriber(self, key: str) -> Document:
        """The subscriber.

        Raises: Refusal when there is none.
        """
        found = self.store.get("subscriber", key)
        if found is None:
            raise Refusal(404, f"Subscriber with id: {key} not found")
        return found

    def keep_subscriber(self, key: Any, profile: Mapping[str, Any], *, only_new: bool = False) -> Document:
        """Create the subscriber, or change what is given of it.

        Raises: Refusal when a field is wrong, or with `only_new` when it is there.
        """
        _check_profile(key, profile)
        now = self.now()
        existing = self.store.get("subscriber", key)
        if existing is not None and only_new:
            raise Refusal(409, f"Subscriber with id: {key} already exists")
        begun = existing or {
            "_id": self._new_id(),
            **OWNER,
            "subscriberId": key,
            **dict.fromkeys(_PROFILE),
            "channels": [],
            "deleted": False,
            "createdAt": now,
            "__v": 0,
        }
        given = {name: profile[name] for name in _PROFILE if name in profile}
        return self.store.put("subscriber", key, {**begun, **given, "updatedAt": now})

    def trigger(self, body: Mapping[str, Any]) -> Document:
        """Take an event, and do at once what Novu's worker does a moment later."""
        name, payload = body.get("name"), body.get("payload", {})
        if not isinstance(name, str) or not name:
            raise invalid("name", "name should not be empty")
        if not isinstance(payload, dict):
            raise invalid("payload", "payload must be an object")
        workflow = self.store.get("workflow", name)
        if workflow is None:
            raise Refusal(400, "workflow_not_found")
        to = body.get("to")
        recipients = [_recipient(one) for one in (to if isinstance(to, list) else [to])]
        if not workflow["active"]:
            return {"acknowledged": True, "status": "trigger_not_active"}
        transaction = body.get("transactionId") or f"txn_{self._new_id()}"
        if not self._knows(transaction):  # the worker drops a transaction id that it knows without a word
            for recipient in recipients:
                self._send(name, workflow, recipient, payload, transaction)
        return {"acknowledged": True, "status": "processed", "transactionId": transaction}

    def _knows(self, transaction: str) -> bool:
        return any(event["transactionId"] == transaction for event in self.store.all("event"))

    def _send(
        self, name: str, workflow: Document, recipient: Document, payload: Mapping[str, Any], transaction: str
    ) -> None:
        subscriber = self.keep_subscriber(recipient["subscriberId"], recipient)
        event = {
            **OWNER,
            "_id": self._new_id(),
            "_subscriberId": subscriber["_id"],
            "_templateId": workflow["id"],
            "transactionId": transaction,
            "channels": ["email"],
            "createdAt": self.now(),
            "updatedAt": self.now(),
            "payload": dict(payload),
        }
        mail = {
            **OWNER,
            "_id": self._new_id(),
            "_notificationId": event["_id"],
            "_subscriberId": subscriber["_id"],
            "_templateId": workflow["id"],
            "templateIdentifier": name,
            "transactionId": transaction,
            "channel": "email",
            "providerId": "sandbox",
            "email": subscriber["email"],
            "subject": _rendered(workflow["subject"], payload),
            "content": "\n".join(f"{key}: {value}" for key, value in sorted(payload.items())),
            "payload": dict(payload),
            "cta": {},
            "read": False,
            "seen": False,
            "status": "sent" if subscriber["email"] else "error",
            "createdAt": self.now(),
            "subscriber": subscriber,
        }
        self.store.put("event", str(event["_id"]), event)
        self.store.put("mail", str(mail["_id"]), mail)

    def _new_id(self) -> str:
        """The next of a fixed series of ids in MongoDB's form."""
        last = (self.store.get("counter", "id") or {"last": 0})["last"] + 1
        self.store.put("counter", "id", {"last": last})
        return hashlib.sha256(str(last).encode()).hexdigest()[:24]


def page(found: Sequence[Document], asked: Mapping[str, str]) -> Document:
    """The part of the documents, newest first, that `page` (from 0) and `limit` ask for."""
    try:
        number, limit = int(float(asked.get("page", "0"))), int(float(asked.get("limit", "10")))
    except ValueError:
        raise invalid("page", "page must be a number") from None
    if number < 0 or not 1 <= limit <= 100:
        raise invalid("limit", "limit must not be greater than 100")
    start, end = number * limit, (number + 1) * limit
    newest = found[::-1]
    return {"data": newest[start:end], "hasMore": len(found) > end, "page": number, "pageSize": limit}


def _check_profile(key: Any, profile: Mapping[str, Any]) -> None:
    if not isinstance(key, str) or not _SUBSCRIBER_ID.fullmatch(key):
        raise invalid("subscriberId", "subscriberId is empty or has characters that are not allowed")
    for name in _PROFILE:
        value = profile.get(name)
        if value is not None and not isinstance(value, dict if name == "data" else str):
            raise invalid(name, f"{name} must be {'an object' if name == 'data' else 'a string'}")
    if profile.get("email") and not _EMAIL.fullmatch(profile["email"]):
        raise invalid("email", "email must be an email")


def _recipient(to: Any) -> Document:
    recipient = {"subscriberId": to} if isinstance(to, str) else to
    if not isinstance(recipient, dict) or not isinstance(recipient.get("subscriberId"), str):
        raise invalid("to", "subscriberId under property to is not configured")
    return recipient


def _rendered(text: str, payload: Mapping[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(payload.get(match[1], "")), text)
