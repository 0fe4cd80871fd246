"""One process that serves every stand-in and proxy of the local stack: `python -m sandbox.serve HOME`.

Each part can be started again by itself, as one restarts a container: its connections are cut, its port is closed for
a moment, and it comes back with what it had stored. That is asked for over a unix socket (`POST /restart/NAME`).
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox.serving import server
from sandbox.stack import credentials, ports, s3_health
from sandbox.stack.folder import Folder
from sandbox.stack.names import CONTROL_SOCKET
from sandbox.stack.stand_ins import STAND_INS, Made, Surroundings
from sandbox.store import Store

Opening = Callable[[], AbstractAsyncContextManager[None]]


class Quiet(uvicorn.Server):
    """A server that leaves the process's signals alone: there are a dozen of it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[None]:
    """Serve until left; returns to the body once it listens."""
    inside = Quiet(config)
    task = asyncio.create_task(inside.serve())
    try:
        while not inside.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        if task.done():
            await task
        yield
    finally:
        inside.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def stand_in(name: str, make: Callable[[Store, Surroundings], Made], around: Surroundings) -> AsyncIterator[None]:
    """One stand-in on all of its ports."""
    store = Store(around.folder.sandbox / f"{name}.sqlite")
    try:
        made = make(store, around)
        async with contextlib.AsyncExitStack() as opened:
            # The HTTP side comes last: once it answers, all of it does.
            if made.also is not None:
                await opened.enter_async_context(made.also())
            await opened.enter_async_context(serving(server(made.stand_in.app(), around.ports[made.http_port]).config))
            yield
    finally:
        store.close()


class Parts:
    """Everything that is served, each part with a life of its own."""

    def __init__(self, openings: Mapping[str, Opening]) -> None:
        self._openings = openings
        self._open: dict[str, contextlib.AsyncExitStack] = {}
        self._busy = asyncio.Lock()

    async def open_all(self) -> None:
        """Open them, at the same time."""
        async with asyncio.TaskGroup() as group:
            for name in self._openings:
                group.create_task(self._open_one(name))

    async def close_all(self) -> None:
        """Close them, at the same time."""
        async with asyncio.TaskGroup() as group:
            for opened in self._open.values():
                group.create_task(opened.aclose())
        self._open.clear()

    async def restart(self, name: str) -> bool:
        """Close and open one; False when there is none of that name."""
        if name not in self._openings:
            return False
        async with self._busy:
            if opened := self._open.pop(name, None):
                await opened.aclose()
            await self._open_one(name)
        return True

    async def _open_one(self, name: str) -> None:
        opened = contextlib.AsyncExitStack()
        await opened.enter_async_context(self._openings[name]())
        self._open[name] = opened

    def control(self) -> ASGIApp:
        """The door for `stack restart`."""

        async def restart(request: Request) -> Response:
            known = await self.restart(request.path_params["name"])
            return JSONResponse({}, status_code=200 if known else 404)

        return Starlette(routes=[Route("/restart/{name}", restart, methods=["POST"])])


def openings(around: Surroundings) -> dict[str, Opening]:
    """How each part is opened, by name."""

    def opening(name: str, make: Callable[[Store, Surroundings], Made]) -> Opening:
        return lambda: stand_in(name, make, around)

    def health() -> AbstractAsyncContextManager[None]:
        keys = around.credentials
        s3 = s3_health.S3(around.ports.url("s3"), keys.s3_operator_access_key, keys.s3_operator_secret_key)
        return serving(server(s3_health.app(s3), around.ports["s3_health"]).config)

    return {name: opening(name, make) for name, make in STAND_INS.items()} | {"s3_health": health}


async def serve(folder: Folder) -> None:
    """Serve until SIGTERM or SIGINT."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    parts = Parts(openings(Surroundings(folder, ports.from_environment(), credentials.ensure(folder))))
    control = uvicorn.Config(
        parts.control(), uds=str(folder.sockets / CONTROL_SOCKET), log_level="warning", access_log=False, lifespan="off"
    )
    await parts.open_all()
    try:
        async with serving(control):
            await over.wait()
    finally:
        await parts.close_all()


def main() -> None:
    """Serve the stack of the folder that the first argument names."""
    asyncio.run(serve(Folder(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
