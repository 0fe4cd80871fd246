"""What every HTTP stand-in is built on: strict routes inside, the fault switch and the inspection around them.

A stand-in subclasses `StandIn`, gives its routes, and says how its objects look to a person. The same class carries
the switch of the TCP parts (PostgreSQL, S3, DNS), which have no routes of their own.
"""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox import faults
from sandbox.faults import Fault, InvalidFaults, Mode, Switchboard
from sandbox.store import Store

LATE_AFTER_A_LOOK = 1.0
"""Seconds after a look-up without the same call tried again, when a late effect lands."""

LONGEST_HANG = 900.0
"""Seconds a call without an answer is held at most, should its client never give up."""

BIGGEST_BODY = 16 * 1024 * 1024
"""Bytes of a request body; a larger one is answered 413."""


HALF = ContextVar("half", default=False)
"""True while a call runs that is to leave half of its effect undone; routes that can do so look at it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One object as `/_sandbox/state` shows it."""

    kind: str
    id: str
    name: str
    ours: bool


@dataclass(slots=True)
class _Held:
    """A call whose effect is still to come."""

    fault: Fault
    operation: str
    land: Callable[[], Awaitable[None]]
    timer: asyncio.TimerHandle | None = field(default=None)


class StandIn:
    """One system. Subclasses set `name` and `base`, and give `routes`, `seen` and the system's own error bodies.

    Args:
        store: what the system remembers.
    """

    name: str
    base = ""
    """The path of the service's url, below which operations are named (`/auth` for Keycloak)."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.switch = Switchboard()
        self._held: list[_Held] = []
        self._landings: set[asyncio.Future[None]] = set()

    def routes(self) -> Sequence[BaseRoute]:
        """The system's own routes, below `base`."""
        return ()

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Every object that a tenant can own, with the text in which a tenant's key is looked for."""
        return ()

    def error(self, status: int, message: str) -> Response:
        """The system's own way to word an error."""
        return JSONResponse({"error": message}, status_code=status)

    def own_way(self, mode: Mode, operation: str) -> ContextVar[bool] | None:  # noqa: ARG002 - for those who have one
        """A flag to be set while the call runs as usual, where the system has a meaning of its own for the mode."""
        return None

    def related_text(self, path: str, query: str) -> str:
        """What the ids in the address stand for, so that a call that names only an id is known to be about a tenant."""
        parts = set(re.split(r"[/&=,'\"]", f"{path}&{query}"))
        return " ".join(json.dumps(doc) for _, key, doc in self.store.items() if key in parts)

    def app(self) -> ASGIApp:
        """The whole stand-in: `/_sandbox` untouched, everything else behind the switch."""
        inside = Starlette(routes=[Mount(self.base, routes=list(self.routes()))] if self.base else list(self.routes()))
        switch = [
            Route("/_sandbox/faults", self._get_faults, methods=["GET"]),
            Route("/_sandbox/faults", self._put_faults, methods=["PUT"]),
            Route("/_sandbox/state", self._get_state, methods=["GET"]),
        ]
        routes: list[BaseRoute] = [*switch]
        if self.base:
            routes.append(Mount(self.base, routes=list(switch)))
        outside = Starlette(routes=routes)

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].removeprefix(self.base).startswith("/_sandbox/"):
                await outside(scope, receive, send)
            elif scope["type"] == "http":
                await self._serve(inside, scope, receive, send)
            else:
                await inside(scope, receive, send)

        return entry

    async def _get_faults(self, _: Request) -> Response:
        return JSONResponse(self.switch.as_json())

    async def _put_faults(self, request: Request) -> Response:
        try:
            self.switch.replace(faults.parse(await request.json()))
        except (InvalidFaults, json.JSONDecodeError) as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse(self.switch.as_json())

    async def _get_state(self, request: Request) -> Response:
        tenant = request.query_params.get("tenant")
        shown = await self.state(tenant)
        return JSONResponse({"objects": [{"kind": s.kind, "id": s.id, "name": s.name, "ours": s.ours} for s in shown]})

    async def state(self, tenant: str | None) -> Sequence[Seen]:
        """What is there of the tenant, or of everybody."""
        return [seen for seen, text in self.seen() if tenant is None or faults.mentions(text, tenant)]

    async def _serve(self, inside: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            await self.error(413, "request body too large")(scope, receive, send)
            return
        path = scope["path"].removeprefix(self.base)
        operation = f"{scope['method']} {path}"
        query = unquote_plus(scope.get("query_string", b"").decode("latin-1"))
        text = " ".join((path, query, unquote_plus(body.decode("utf-8", "replace")), self.related_text(path, query)))
        fault = self.switch.take(operation, text)

        async def run(answer: Send) -> None:
            await inside(dict(scope), _replay(body), answer)

        if fault is None:
            await run(send)
            self._looked(operation)
        else:
            await self._go_wrong(fault, operation, run, scope, receive, send)

    async def _go_wrong(
        self,
        fault: Fault,
        operation: str,
        run: Callable[[Send], Awaitable[None]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        flag = self.own_way(fault.mode, operation)
        if flag is not None:
            await _flagged(flag, run, send)
            return
        match fault.mode:
            case Mode.REFUSE:
                _abort(scope)
                await _until_gone(receive)
            case Mode.TIMEOUT_BEFORE:
                await _until_gone(receive)
            case Mode.TIMEOUT_AFTER:
                await run(_nowhere)
                await _until_gone(receive)
            case Mode.LATE_EFFECT:
                self._hold(_Held(fault, operation, lambda: run(_nowhere)))
                await _until_gone(receive)
            case Mode.RATE_LIMITED:
                answer = self.error(429, "Too Many Requests")
                answer.headers["Retry-After"] = "1"
                await answer(scope, receive, send)
            case Mode.SERVER_ERROR:
                await self.error(500, "Internal Server Error")(scope, receive, send)
            case Mode.UNAUTHORIZED:
                await self.error(401, "Unauthorized")(scope, receive, send)
            case Mode.SLOW:
                await asyncio.sleep(2)
                await run(send)
            case Mode.HALF_DONE:
                await _flagged(HALF, run, _nowhere)
                await self.error(500, "Internal Server Error")(scope, receive, send)

    def _hold(self, held: _Held) -> None:
        for other in self._held:
            if other.operation == held.operation and other.timer is not None:
                other.timer.cancel()
                other.timer = None
        self._held.append(held)

    def _looked(self, operation: str) -> None:
        """A call went through: whatever is held lands a moment later, unless the held call is tried again first."""
        loop = asyncio.get_running_loop()
        for held in self._held:
            if held.timer is None and held.operation != operation:
                held.timer = loop.call_later(LATE_AFTER_A_LOOK, self._land, held)

    def _land(self, held: _Held) -> None:
        self._held.remove(held)
        landing = asyncio.ensure_future(held.land())
        self._landings.add(landing)
        landing.add_done_callback(self._landings.discard)


async def _flagged(flag: ContextVar[bool], run: Callable[[Send], Awaitable[None]], send: Send) -> None:
    before = flag.set(True)
    try:
        await run(send)
    finally:
        flag.reset(before)


async def _read(receive: Receive) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > BIGGEST_BODY:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _nowhere(_: Message) -> None:
    return None


async def _until_gone(receive: Receive) -> None:
    async with asyncio.timeout(LONGEST_HANG):
        while (await receive())["type"] != "http.disconnect":
            pass


def _abort(scope: Scope) -> None:
    """Close the connection with a reset, as a server that refuses does (the transport is put there by `serve`)."""
    transport = scope.get("extensions", {}).get("connection", {}).get("transport")
    if isinstance(transport, asyncio.Transport):
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
