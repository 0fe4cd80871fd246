"""What the proxies before PostgreSQL and S3 share: a TCP port with the fault switch beside it on an HTTP port.

A fault is used up by each call it hits, and a refused call sees its connection reset. Only a `refuse` for every call
of every tenant that is to last (`LASTING` times or more) closes the port itself, so that clients meet a true
ECONNREFUSED; nobody can count those, so it lasts until the list is replaced.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox import faults
from sandbox.faults import Fault, Mode
from sandbox.serving import LOOPBACK, server
from sandbox.standin import LATE_AFTER_A_LOOK, StandIn
from sandbox.store import Store

LASTING = 100
"""From so many times on, a `refuse` of everything means that the system is down."""

CHUNK = 256 * 1024
"""Bytes read at once."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The real server."""

    port: int
    host: str = LOOPBACK


@dataclass(slots=True)
class Late:
    """A call whose effect is still to come.

    Args:
        land: carries it out.
        left: whether its client has gone: only then can somebody have a look.
    """

    fault: Fault
    operation: str
    land: Callable[[], Awaitable[None]]
    left: bool = False
    timer: asyncio.TimerHandle | None = None


class LateCalls:
    """The late calls of one proxy: each lands a moment after somebody has looked, unless it is tried again first."""

    def __init__(self) -> None:
        self._waiting: list[Late] = []
        self._landings: set[asyncio.Future[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def hold(self, late: Late) -> None:
        """Keep it; another one of the same operation waits for a new look."""
        for other in self._waiting:
            if other.operation == late.operation and other.timer is not None:
                other.timer.cancel()
                other.timer = None
        self._waiting.append(late)

    def looked(self, operations: Collection[str], text: str) -> None:
        """A call went through: a look, when it is another one than the late call and about the same tenant.

        Args:
            operations: every name the call goes by.
        """
        for late in self._waiting:
            about_it = late.fault.tenant is None or faults.mentions(text, late.fault.tenant)
            if late.left and late.timer is None and about_it and late.operation not in operations:
                late.timer = asyncio.get_running_loop().call_later(LATE_AFTER_A_LOOK, self._land, late)

    def _land(self, late: Late) -> None:
        self._waiting.remove(late)
        landing = asyncio.ensure_future(late.land())
        self._landings.add(landing)
        landing.add_done_callback(self._landings.discard)


class TcpProxy(StandIn):
    """A TCP port before a real server. Subclasses say what happens on a connection, and what is seen.

    Args:
        upstream: the real server.
    """

    def __init__(self, upstream: Upstream, store: Store | None = None) -> None:
        super().__init__(store)
        self.upstream = upstream
        self.late = LateCalls()
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._open = False
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def idle(self) -> bool:
        """Whether calls need not be understood: no fault is armed and nothing is late."""
        return not self.switch.armed and not self.late

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it is gone."""
        raise NotImplementedError

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[int]:
        """Listen on loopback; port 0 takes any free one. Answers the port."""
        self._port, self._open = port, True
        await self._listen()
        try:
            yield self._port
        finally:
            self._open = False
            await self._close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, LOOPBACK, self._port, limit=CHUNK)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve_client(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.connected(reader, writer)
        finally:
            writer.close()

    async def _serve(self, inside: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """The HTTP port is for people: no fault ever hits it."""
        await inside(scope, receive, send)

    async def _put_faults(self, request: Request) -> Response:
        answer = await super()._put_faults(request)
        if self._open:
            await self._follow_the_switch()
        return answer

    async def _follow_the_switch(self) -> None:
        down = any(
            fault["operation"] == "*" and fault["mode"] == Mode.REFUSE and fault["times"] >= LASTING
            for fault in self.switch.as_json()
            if "tenant" not in fault
        )
        if down:
            await self._close()
        elif self._listener is None:
            await self._listen()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the real server.

        Raises: OSError.
        """
        return await asyncio.open_connection(self.upstream.host, self.upstream.port, limit=CHUNK)


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut the connection as a server that has died does."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until_gone(reader: asyncio.StreamReader) -> None:
    """Read and forget until the client closes its connection."""
    with contextlib.suppress(OSError):
        while await reader.read(CHUNK):
            pass


@contextmanager
def running(proxy: TcpProxy, port: int = 0) -> Iterator[tuple[int, int]]:
    """Serve the proxy from a thread of this process for tests and trials; answers its TCP and its HTTP port."""
    started: list[tuple[int, int]] = []
    listening, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with proxy.listening(port) as tcp:
            http = server(proxy.app(), 0)
            task = asyncio.create_task(http.serve())
            while not http.started:  # noqa: ASYNC110 - uvicorn says it in no other way
                await asyncio.sleep(0.005)
            started.append((tcp, http.servers[0].sockets[0].getsockname()[1]))
            listening.set()
            await asyncio.to_thread(over.wait)
            http.should_exit = True
            await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not listening.wait(timeout=20):
        raise TimeoutError("the proxy did not start to listen within 20 s")
    try:
        yield started[0]
    finally:
        over.set()
        thread.join(timeout=20)
