"""Stand-in for the company's app plane: takes signed webhooks, makes organizations, and confirms by a webhook back.

The confirmation has an operation of its own on the fault switch, `CONFIRM`: refuse and timeout_before (never sent),
slow and late_effect (five seconds late), half_done (sent as a failure), timeout_after (sent twice).
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.faults import Mode
from sandbox.standin import HALF, Seen, StandIn
from sandbox.store import Document, Store

CONFIRM = "CONFIRM"
TRIES = 20
LATE = 5.0
LONGEST_PAUSE = 10.0
MANAGED_BY = "tenant-pipelines"


class AppPlane(StandIn):
    """Organizations by tenant, deduplicated by webhook-id; what is still to be confirmed outlives a restart.

    Args:
        store: what it remembers.
        inbound_secret: signs what comes in (`whsec_...`).
        outbound_secret: signs the confirmations.
        confirm_url: where confirmations go; None confirms nothing. An address in a message is never called.
        confirm_after: seconds between a webhook and its confirmation.
        first_pause: seconds until a failed confirmation is sent again; doubles each time.
    """

    name = "app_plane"

    def __init__(
        self,
        store: Store | None = None,
        *,
        inbound_secret: str,
        outbound_secret: str,
        confirm_url: str | None,
        confirm_after: float = 0.2,
        first_pause: float = 0.5,
    ) -> None:
        super().__init__(store)
        self._inbound = Webhook(inbound_secret)
        self._outbound = Webhook(outbound_secret)
        self._confirm_url = confirm_url
        self._confirm_after = confirm_after
        self._first_pause = first_pause
        self._confirming: dict[str, asyncio.Task[None]] = {}

    def app(self) -> ASGIApp:
        """As every stand-in's, and the first call after a restart takes up the confirmations that are due."""
        served = super().app()

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            self._confirm_what_is_due()
            await served(scope, receive, send)

        return entry

    def routes(self) -> Sequence[BaseRoute]:
        """The two webhooks."""
        return [
            Route("/webhooks/tenant-provisioned", self._provisioned, methods=["POST"]),
            Route("/webhooks/tenant-deprovisioned", self._deprovisioned, methods=["POST"]),
        ]

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """The organizations; ours are those that came by a signed webhook."""
        return [
            (Seen("organization", org["id"], org["name"], org.get("managedBy") == MANAGED_BY), json.dumps(org))
            for org in self.store.all("organization")
        ]

    def error(self, status: int, message: str) -> Response:
        """`{success: false, error}`."""
        return JSONResponse({"success": False, "error": message}, status_code=status)

    async def _provisioned(self, request: Request) -> Response:
        data = await self._verified(request, "tenant.provisioned")
        if isinstance(data, Response):
            return data
        message = request.headers["webhook-id"]
        if answered := self.store.get("message", message):
            return JSONResponse({**answered, "duplicate": True})
        organization = self._organization(data)
        answer = {"success": True, "organizationId": organization["id"], "adminUserId": organization["adminUserId"]}
        if not HALF.get():
            self.store.put("message", message, answer)
            self.store.put("confirmation", message, {"tenantId": data["tenantId"], "tries": 0, "due": True})
            self._confirm_what_is_due()
        return JSONResponse(answer, status_code=202)

    async def _deprovisioned(self, request: Request) -> Response:
        data = await self._verified(request, "tenant.deprovisioned")
        if isinstance(data, Response):
            return data
        removed = self.store.delete("organization", data["tenantId"])
        return JSONResponse({"success": True, "removed": removed})

    async def _verified(self, request: Request, event: str) -> dict[str, Any] | Response:
        """The message's data, or the answer to a message that is not to be believed or not to be read."""
        body = await request.body()
        try:
            self._inbound.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):  # ValueError: a signature header of another form
            return self.error(401, "the signature is missing, wrong or too old")
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return self.error(415, "application/json is wanted")
        try:
            message = json.loads(body)
            data: dict[str, Any] = message["data"]
            UUID(data["tenantId"])
            known = message["type"] == event and isinstance(data["tenantKey"], str)
        except (ValueError, KeyError, TypeError, AttributeError):
            known = False
        return data if known else self.error(422, f"a message {event} with data.tenantId and data.tenantKey is wanted")

    def _organization(self, data: dict[str, Any]) -> Document:
        """The tenant's organization, made or brought up to date; half of it lacks its administrator."""
        admin = (data.get("adminUser") or {}).get("email")
        return self.store.put(
            "organization",
            data["tenantId"],
            {
                "id": data["tenantId"],
                "name": data["tenantKey"],
                "displayName": data.get("tenantName"),
                "managedBy": MANAGED_BY,
                "adminUserId": str(uuid5(NAMESPACE_URL, f"mailto:{admin}")) if admin and not HALF.get() else None,
            },
        )

    def _confirm_what_is_due(self) -> None:
        if self._confirm_url is None:
            return
        for message, confirmation in list(self._confirmations()):
            if confirmation["due"] and message not in self._confirming:
                task = asyncio.ensure_future(self._confirm(message, confirmation, self._confirm_url))
                self._confirming[message] = task
                task.add_done_callback(partial(self._no_longer_confirming, message))

    def _no_longer_confirming(self, message: str, _: asyncio.Task[None]) -> None:
        self._confirming.pop(message, None)

    def _confirmations(self) -> Sequence[tuple[str, Document]]:
        return [(key, document) for kind, key, document in self.store.items() if kind == "confirmation"]

    async def _confirm(self, message: str, confirmation: Document, url: str) -> None:
        await asyncio.sleep(self._confirm_after)
        organization = self.store.get("organization", confirmation["tenantId"])
        if organization is None:  # removed meanwhile: there is nothing to confirm
            self.store.put("confirmation", message, {**confirmation, "due": False})
            return
        fault = self.switch.take(CONFIRM, json.dumps(organization))
        times = 1
        body = {
            "tenantId": organization["id"],
            "organizationId": organization["id"],
            "adminUserId": organization["adminUserId"],
            "success": True,
        }
        match fault and fault.mode:
            case Mode.REFUSE | Mode.TIMEOUT_BEFORE:
                times = 0
            case Mode.SLOW | Mode.LATE_EFFECT:
                await asyncio.sleep(LATE)
            case Mode.HALF_DONE:
                body |= {"success": False, "error": "the organization's workspace could not be made"}
            case Mode.TIMEOUT_AFTER:
                times = 2
        for _ in range(times):
            await self._send(message, confirmation, body, url)
        self.store.put("confirmation", message, {**confirmation, "due": False})

    async def _send(self, message: str, confirmation: Document, body: dict[str, Any], url: str) -> None:
        """Send it until it is taken (2xx) or the tries are used up."""
        content = json.dumps({name: value for name, value in body.items() if value is not None})
        pause = self._first_pause
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            while confirmation["tries"] < TRIES:
                confirmation["tries"] += 1
                self.store.put("confirmation", message, confirmation)
                try:
                    if (await client.post(url, content=content, headers=self._signed(message, content))).is_success:
                        return
                except httpx.HTTPError:
                    pass  # nobody there for the moment
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _signed(self, message: str, content: str) -> dict[str, str]:
        now = datetime.now(UTC)
        name = f"confirm-{message}"
        return {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._outbound.sign(name, now, content),
        }
