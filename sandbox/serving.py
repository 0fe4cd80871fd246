"""Runs stand-ins over real sockets: all of them in one process for the stack, a single one in a thread for a test."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOOPBACK = "127.0.0.1"


class AbortableProtocol(HttpToolsProtocol):
    """Lets an application reset its connection: the transport is in the scope's extensions."""

    def on_message_begin(self) -> None:
        """Called for each request, right after its scope has been made."""
        super().on_message_begin()
        self.scope["extensions"] = {"connection": {"transport": self.transport}}


def server(app: ASGIApp, port: int) -> uvicorn.Server:
    """A server for one stand-in, on loopback; port 0 takes any free one."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=LOOPBACK,
            port=port,
            http=AbortableProtocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )


class _Threaded(uvicorn.Server):
    """Announces that it listens, so that nobody has to poll."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def running(app: ASGIApp, port: int = 0) -> Iterator[int]:
    """Serve the app from a thread of this process and answer its port; for tests and trials."""
    threaded = _Threaded(server(app, port).config)
    thread = threading.Thread(target=lambda: asyncio.run(threaded.serve()), daemon=True)
    thread.start()
    if not threaded.listening.wait(timeout=20):
        raise TimeoutError("the stand-in did not start to listen within 20 s")
    try:
        yield threaded.servers[0].sockets[0].getsockname()[1]
    finally:
        threaded.should_exit = True
        thread.join(timeout=20)
