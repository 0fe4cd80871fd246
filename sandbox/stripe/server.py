"""Stripe over HTTP: who may ask, which endpoint it is, what it answered before, and how the answer is sent."""

import asyncio
import base64
import binascii
import hmac
import itertools
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.standin import HALF, Seen, StandIn
from sandbox.store import Document, Store
from sandbox.stripe import customers, form, prices, subscriptions
from sandbox.stripe.account import Account, Params
from sandbox.stripe.parameters import Group, check
from sandbox.stripe.refusal import Refusal
from sandbox.stripe.replay import Replays, Saved

API_VERSION = "2026-08-26.dahlia"
MANAGED_BY = "tenant-pipelines"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the API: its parameters, and what it does with an account (the text is the id in the path)."""

    method: str
    path: str
    parameters: Group
    act: Callable[[Account, Params, str], Document]


ENDPOINTS = (
    Endpoint("GET", "/v1/customers", customers.FIND, customers.find),
    Endpoint("POST", "/v1/customers", customers.CREATE, customers.create),
    Endpoint("GET", "/v1/customers/search", customers.SEARCH, customers.find_by_query),
    Endpoint("GET", "/v1/customers/{id}", prices.NOTHING, customers.retrieve),
    Endpoint("POST", "/v1/customers/{id}", customers.UPDATE, customers.update),
    Endpoint("DELETE", "/v1/customers/{id}", prices.NOTHING, customers.delete),
    Endpoint("POST", "/v1/products", prices.CREATE_PRODUCT, prices.create_product),
    Endpoint("GET", "/v1/products/{id}", prices.NOTHING, prices.retrieve_product),
    Endpoint("GET", "/v1/prices", prices.FIND, prices.find),
    Endpoint("POST", "/v1/prices", prices.CREATE, prices.create),
    Endpoint("GET", "/v1/prices/{id}", prices.NOTHING, prices.retrieve),
    Endpoint("GET", "/v1/subscriptions", subscriptions.FIND, subscriptions.find),
    Endpoint("POST", "/v1/subscriptions", subscriptions.CREATE, subscriptions.create),
    Endpoint("GET", "/v1/subscriptions/{id}", prices.NOTHING, subscriptions.retrieve),
    Endpoint("POST", "/v1/subscriptions/{id}", subscriptions.UPDATE, subscriptions.update),
    Endpoint("DELETE", "/v1/subscriptions/{id}", subscriptions.CANCEL, subscriptions.cancel),
)


class Stripe(StandIn):
    """The part of Stripe that bills tenants: customers, prices and subscriptions of one test account.

    Args:
        store: what it remembers.
        key: the secret key that it accepts (`sk_test_…`), as Basic user name or as Bearer token.
        search_delay: seconds until a change can be found by search (at Stripe: usually under a minute).
        write_takes: seconds that a write is in progress; a second one with the same idempotency key is 409 meanwhile.
        clock: Unix seconds.
    """

    name = "stripe"

    def __init__(
        self,
        store: Store | None = None,
        *,
        key: str,
        search_delay: float = 1.0,
        write_takes: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store)
        self._key = key
        self._write_takes = write_takes
        self._account = Account(self.store, clock, search_delay)
        self._replays = Replays(self._account)
        self._requests = itertools.count(1)
        prices.seed(self._account)

    def routes(self) -> Sequence[BaseRoute]:
        """Every endpoint, and the 404 in Stripe's form for the rest."""
        known = [Route(e.path, self._answering(e), methods=[e.method]) for e in ENDPOINTS]
        everything = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [*known, Route("/{path:path}", self._unknown, methods=everything)]

    def error(self, status: int, message: str) -> Response:
        """Rate limits, outages and lost credentials as Stripe words them."""
        types = {401: "invalid_request_error", 429: "invalid_request_error"}
        code = "rate_limit" if status == 429 else None
        return JSONResponse(Refusal(status, message, code, type=types.get(status, "api_error")).body(), status)

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Customers that are not deleted and subscriptions that have not ended."""
        shown: list[tuple[Seen, str]] = []
        for customer in self.store.all("customer"):
            if not customer.get("deleted"):
                label = customer["name"] or customer["email"] or customer["id"]
                shown.append((_seen("customer", customer, label), json.dumps(customer)))
        for found in self.store.all("subscription"):
            one = subscriptions.retrieve(self._account, {}, found["id"])
            if one["status"] not in ("canceled", "incomplete_expired"):
                owner = json.dumps(self.store.get("customer", one["customer"]))
                shown.append((_seen("subscription", one, one["id"]), json.dumps(one) + owner))
        return shown

    def _answering(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            headers = {"Request-Id": f"req_{next(self._requests):014d}", "Stripe-Version": API_VERSION}
            try:
                self._authenticate(request)
                headers["Stripe-Version"] = _version(request)
                parameters = await _parameters(request)
                saved = await self._once(endpoint, request, parameters, headers)
            except Refusal as refusal:
                return JSONResponse(refusal.body(), refusal.status, headers)
            return JSONResponse(saved.body, saved.status, headers)

        return answer

    async def _once(self, endpoint: Endpoint, request: Request, parameters: Params, headers: dict[str, str]) -> Saved:
        """Carry the request out, or answer what was answered to the same key before."""
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        target = request.path_params.get("id", "")
        named = f"{request.method} {request.url.path}"
        if key:
            headers["Idempotency-Key"] = key
            before = self._replays.before(key, named, parameters)
            if before is not None:
                headers |= {"Idempotent-Replayed": "true", "Original-Request": before.request_id}
                return before
        typed = check(endpoint.parameters, parameters)
        status, body = await self._carry_out(endpoint, typed, target, key)
        saved = self._replays.saved(named, parameters, status, body, headers["Request-Id"])
        if key:
            self._replays.save(key, saved)
        return saved

    async def _carry_out(self, endpoint: Endpoint, typed: Params, target: str, key: str | None) -> tuple[int, Document]:
        if key and self._write_takes:
            self._replays.begin(key)
            try:
                await asyncio.sleep(self._write_takes)
            finally:
                self._replays.end(key)
        try:
            body = endpoint.act(self._account, typed, target)
        except Refusal as refusal:
            return refusal.status, refusal.body()
        if HALF.get():  # the object is made, and the error is what the key remembers
            return 500, Refusal(500, "Internal Server Error", type="api_error").body()
        return 200, body

    def _authenticate(self, request: Request) -> None:
        given = _credential(request.headers.get("Authorization", ""))
        if not given:
            raise Refusal(401, "You did not provide an API key.")
        if not hmac.compare_digest(given.encode(), self._key.encode()):
            raise Refusal(401, f"Invalid API Key provided: {given[:8]}{'*' * 8}")

    async def _unknown(self, request: Request) -> Response:
        message = f"Unrecognized request URL ({request.method}: {request.url.path})."
        return JSONResponse(Refusal(404, message).body(), 404)


def _seen(kind: str, document: Document, name: str) -> Seen:
    return Seen(kind, document["id"], name, document["metadata"].get("managedBy") == MANAGED_BY)


def _credential(header: str) -> str:
    """The key of `Bearer KEY`, or of `Basic` with the key as user name and no password."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _version(request: Request) -> str:
    version = request.headers.get("Stripe-Version", API_VERSION)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?", version):
        raise Refusal(400, f"Invalid Stripe API version: {version[:40]}")
    return version


async def _parameters(request: Request) -> Params:
    """Query and form body together; a GET has no body, a POST is form-encoded."""
    body = (await request.body()).decode("utf-8", "replace")
    content_type = request.headers.get("Content-Type", "").partition(";")[0]
    if body and content_type != "application/x-www-form-urlencoded":
        raise Refusal(400, "Invalid request (check that your POST content type is application/x-www-form-urlencoded).")
    text = "&".join(part for part in (request.url.query, body) if part)
    parameters = form.parse(text)
    if parameters.pop("expand", None):
        raise Refusal(400, "This property cannot be expanded here.", param="expand")
    return parameters
