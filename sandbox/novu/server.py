"""Novu over HTTP (Novu API: Subscribers, Events, Notifications, Messages, Idempotency).

An idempotency key counts only where the organization has it switched on, belongs to the whole organization whatever
the path, and gives an error that was saved under it back as 503.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.novu.environment import Environment, page
from sandbox.novu.refusal import Refusal
from sandbox.standin import Seen, StandIn
from sandbox.store import Document, Store

MANAGED_BY = "tenant-pipelines"
KEPT_FOR = 24 * 3600
"""Seconds for which an idempotency key is remembered."""

Act = Callable[[Request, dict[str, Any]], tuple[int, Document]]


class Novu(StandIn):
    """One environment of one organization.

    Args:
        store: what it remembers.
        key: the secret key that it accepts.
        idempotency: whether the organization has idempotency keys switched on (at Novu: off unless asked for).
        clock: Unix seconds.
    """

    name = "novu"

    def __init__(
        self,
        store: Store | None = None,
        *,
        key: str,
        idempotency: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store)
        self._key = key
        self._idempotency = idempotency
        self._environment = Environment(self.store, clock)

    def routes(self) -> Sequence[BaseRoute]:
        """What is there of Novu's API."""
        return [
            Route("/v2/subscribers", self._answering(self._create_subscriber), methods=["POST"]),
            Route("/v2/subscribers/{id}", self._answering(self._get_subscriber), methods=["GET"]),
            Route("/v2/subscribers/{id}", self._answering(self._delete_subscriber), methods=["DELETE"]),
            Route("/v1/events/trigger", self._answering(self._trigger), methods=["POST"]),
            Route("/v1/notifications", self._answering(self._notifications), methods=["GET"]),
            Route("/v1/messages", self._answering(self._messages), methods=["GET"]),
            Route("/{path:path}", self._unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]

    def error(self, status: int, message: str) -> Response:
        """Novu's error object."""
        return JSONResponse(Refusal(status, message).body("/", self._environment.now()), status)

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Subscribers; a mail that was sent is nobody's leftover."""
        return [(_seen(one), json.dumps(one)) for one in self.store.all("subscriber")]

    def _create_subscriber(self, request: Request, body: dict[str, Any]) -> tuple[int, Document]:
        only_new = request.query_params.get("failIfExists") == "true"
        return 201, self._environment.keep_subscriber(body.get("subscriberId"), body, only_new=only_new)

    def _get_subscriber(self, request: Request, _: dict[str, Any]) -> tuple[int, Document]:
        return 200, self._environment.subscriber(request.path_params["id"])

    def _delete_subscriber(self, request: Request, _: dict[str, Any]) -> tuple[int, Document]:
        self.store.delete("subscriber", self._environment.subscriber(request.path_params["id"])["subscriberId"])
        return 200, {"acknowledged": True, "status": "deleted"}

    def _trigger(self, _: Request, body: dict[str, Any]) -> tuple[int, Document]:
        return 201, self._environment.trigger(body)

    def _notifications(self, request: Request, _: dict[str, Any]) -> tuple[int, Document]:
        """The events (Novu's activity feed)."""
        transaction = request.query_params.get("transactionId")
        found = [one for one in self.store.all("event") if transaction in (None, one["transactionId"])]
        return 200, page(found, request.query_params)

    def _messages(self, request: Request, _: dict[str, Any]) -> tuple[int, Document]:
        """The mails that were sent: the inbox of the sandbox."""
        transactions = request.query_params.getlist("transactionId")
        subscriber = request.query_params.get("subscriberId")
        found = [
            mail
            for mail in self.store.all("mail")
            if (not transactions or mail["transactionId"] in transactions)
            and subscriber in (None, mail["subscriber"]["subscriberId"])
        ]
        return 200, {**page(found, request.query_params), "totalCount": len(found)}

    async def _unknown(self, request: Request) -> Response:
        return self._refused(request, Refusal(404, f"Cannot {request.method} {request.url.path}"))

    def _answering(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._authenticate(request)
                return self._once(act, request, await _body(request))
            except Refusal as refusal:
                return self._refused(request, refusal)

        return answer

    def _authenticate(self, request: Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "ApiKey" or not hmac.compare_digest(key.encode(), self._key.encode()):
            raise Refusal(401, "API Key not found")

    def _once(self, act: Act, request: Request, body: dict[str, Any]) -> Response:
        """Carry the request out; under an idempotency key only the first time."""
        key = request.headers.get("Idempotency-Key")
        if not (self._idempotency and key and request.method == "POST"):
            status, answer = act(request, body)
            return JSONResponse(_wrapped(answer), status)
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        at = self._environment.clock()
        saved = self.store.get("replay", key)
        if saved is not None and saved["at"] + KEPT_FOR >= at:
            return self._replay(request, key, saved, digest)
        try:
            status, answer = act(request, body)
        except Refusal:
            self.store.put("replay", key, {"at": at, "digest": digest, "status": 503, "body": None})
            raise
        self.store.put("replay", key, {"at": at, "digest": digest, "status": status, "body": _wrapped(answer)})
        return JSONResponse(_wrapped(answer), status, {"Idempotency-Key": key})

    def _replay(self, request: Request, key: str, saved: Document, digest: str) -> Response:
        headers = {"Idempotency-Key": key, "Idempotency-Replay": "true"}
        if saved["digest"] != digest:
            return self._refused(
                request, Refusal(422, f'Request with key "{key}" is being reused for a different body')
            )
        if saved["status"] == 503:
            return self._refused(request, Refusal(503, "Service Unavailable"), headers)
        return JSONResponse(saved["body"], saved["status"], headers)

    def _refused(self, request: Request, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
        body = refusal.body(request.url.path, self._environment.now())
        return JSONResponse(body, refusal.status, headers)


def _wrapped(answer: Document) -> Document:
    """Novu puts every answer that is not a page into `data`."""
    return answer if "hasMore" in answer else {"data": answer}


def _seen(subscriber: Document) -> Seen:
    ours = (subscriber["data"] or {}).get("managedBy") == MANAGED_BY
    return Seen("subscriber", subscriber["subscriberId"], subscriber["email"] or subscriber["subscriberId"], ours)


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise Refusal(400, "Unexpected token in JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "An object is wanted")
    return body
