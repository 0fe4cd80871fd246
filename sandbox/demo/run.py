"""One demo from its stack's start to its stack's end."""
# ruff: noqa: PLC0415 - what needs Dagster is loaded while the stack starts, which takes as long

import asyncio
import importlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sandbox.demo import home
from sandbox.demo.plan import Wanted
from sandbox.demo.screen import Screen
from sandbox.stack.folder import Folder
from sandbox.stack.up import Stack, running

if TYPE_CHECKING:
    from sandbox.demo.findings import Finding
    from sandbox.demo.story import OpenDesk

LAST_WORDS = 5.0
"""Seconds that the work may take to notice that it is to stop, before the stack is taken away from it."""


@dataclass
class Run:
    """A demo.

    Args:
        folder: of its stack; empty.
        open_desk: see Story.
        found: every tenant in the end. phases: how long each part of the demo took, in seconds.
    """

    folder: Folder
    wanted: Sequence[Wanted]
    screen: Screen
    open_desk: "OpenDesk"
    found: "Sequence[Finding]" = ()
    phases: dict[str, float] = field(default_factory=dict[str, float])
    _halted: threading.Event = field(default_factory=threading.Event)

    async def all(self) -> None:
        """Start, play, stop; whatever happens, the stack has ended when this returns.

        Raises: StackFailure.
        """
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="demo") as threads:
            prepared = asyncio.get_running_loop().run_in_executor(threads, _load)
            opened = AsyncExitStack()
            try:
                with self._phase("stack"), self.screen.starting() as tell:
                    stack = await opened.enter_async_context(running(self.folder, tell=tell))
                    await prepared
                self.screen.say(f"The local stack is up ({self.phases['stack']:.1f} s): {_parts(stack)}")
                self.found = await self._play(threads, stack)
                self.screen.findings(self.found)
            finally:
                with self._phase("stop"), self.screen.busy("Stopping everything"):
                    await opened.aclose()

    async def _play(self, threads: ThreadPoolExecutor, stack: Stack) -> "list[Finding]":
        from sandbox.demo.story import Story

        home.move_in(self.folder)
        story = Story(self.wanted, self.open_desk, self.screen, self._halted)
        work = asyncio.get_running_loop().run_in_executor(threads, partial(story.play, stack, self._phase))
        try:
            return await asyncio.shield(work)
        finally:
            self._halted.set()
            await asyncio.wait({work}, timeout=LAST_WORDS)
            _heard(work)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = time.monotonic() - began


def _load() -> None:
    for name in ("sandbox.demo.story", "tenant_pipelines.runs.gateway", "dagster_aws.s3.compute_log_manager"):
        importlib.import_module(name)


def _heard(work: "asyncio.Future[list[Finding]]") -> None:
    """What it still had to say when it was told to stop is of no interest."""
    if work.done() and not work.cancelled():
        work.exception()


def _parts(stack: Stack) -> str:
    return f"{len(stack.document['services'])} outside systems, Dagster, the REST API"
