"""The warm processes of a pool, as its supervisor has them."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Protocol, TypeAlias
from uuid import UUID

from tenant_pipelines.launcher.channel import (
    BEAT_EVERY,
    Assignment,
    Beat,
    Broken,
    Finish,
    Interrupt,
    Leaving,
    Said,
    Tell,
    Unfit,
    enter,
)
from tenant_pipelines.launcher.decisions import Vitals
from tenant_pipelines.launcher.preload import VARIABLE
from tenant_pipelines.launcher.processes import Process
from tenant_pipelines.ledger.launches import Worker

GUARD = "tenant_pipelines.launcher.warm"
LATE = 2 * BEAT_EVERY

Wire: TypeAlias = "Connection[Interrupt | Finish, Said]"


class Role(StrEnum):
    """What a warm process is for."""

    WORKER = "worker"
    WAKER = "waker"


class Member:
    """One warm process.

    Args: life: counted up when everything is to begin anew. now: monotonic seconds.
    """

    def __init__(
        self,
        role: Role,
        process: Process,
        wire: Wire,
        *,
        pool: UUID,
        life: int,
        now: float,
    ) -> None:
        self.role = role
        self.process = process
        self.wire = wire
        self.worker = Worker(pool, process.pid, process.started)
        """As the queue knows it."""
        self.deaf = False
        """It has closed its end of the wire: it has ended, or is about to."""
        self.life = life
        self.vitals = Vitals(born=now, heard=now)
        self.lease: int | None = None
        """What it said last that it carries out."""
        self.asked: dict[int, float] = {}
        """Leases whose interrupt was sent, and when it has to have worked."""
        self.finishing: float | None = None
        """Since when it is told to take no further run."""
        self.successor: Member | None = None

    def __str__(self) -> str:
        return f"{self.role} {self.process.pid}"

    def hear(self, now: float) -> list[Tell | Unfit | Broken]:
        """Read all that it has said; answers what is more than a sign of life."""
        found: list[Tell | Unfit | Broken] = []
        try:
            while not self.deaf and self.wire.poll():
                match self.wire.recv():
                    case Beat() as beat:
                        self._beat(beat, now)
                    case Leaving():
                        self.finishing = self.finishing or now
                    case said:
                        broken = self.vitals.broken or isinstance(said, Broken)
                        self.vitals = replace(self.vitals, broken=broken)
                        found.append(said)
        except (EOFError, OSError):
            self.deaf = True
        return found

    def _beat(self, beat: Beat, now: float) -> None:
        self.lease = beat.lease
        self.vitals = replace(self.vitals, heard=now, ready=beat.ready, ended=beat.ended, memory=beat.memory)

    def look(self, now: float) -> None:
        """See whether it is stopped, since its last sign of life at the latest; only where the next one is late."""
        stopped = now - self.vitals.heard > LATE and self.process.stopped()
        self.vitals = replace(self.vitals, stopped=self.vitals.heard if stopped else None)

    def finish(self, now: float) -> None:
        """Have it end after its present run."""
        if self.finishing is None:
            self.finishing = now
            self._send(Finish())

    def interrupt(self, lease: int) -> None:
        """Have it end that run; it looks itself whether it still has it."""
        self._send(Interrupt(lease))

    def _send(self, said: Interrupt | Finish) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self.wire.send(said)

    def close(self) -> None:
        """Let go of it."""
        self.wire.close()
        self.process.close()


class Starter(Protocol):
    """Makes warm processes."""

    def __call__(self, role: Role, life: int) -> Member | None:
        """A new one; None when it has ended at once."""
        ...

    def anew(self) -> None:
        """Load everything again before the next one."""
        ...


class Forkserver:
    """Makes warm processes as copies of one that has preloaded everything (multiprocessing's `forkserver`).

    Args:
        pool: this life of the supervisor. definitions: the module to be preloaded. modules: for each role the one whose
            `main(channel, assignment)` is its life. guard: imported by the process that all others are copies of.
    """

    def __init__(
        self,
        pool: UUID,
        definitions: str,
        modules: Mapping[Role, str],
        *,
        guard: str = GUARD,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = Assignment(pool, definitions)
        self._modules = modules
        self._now = now
        self._server: Process | None = None
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([guard])
        os.environ[VARIABLE] = definitions

    def __call__(self, role: Role, life: int) -> Member | None:
        """A new one; None when it has ended at once. The first one waits until everything is preloaded."""
        ours, its = self._context.Pipe()
        child = self._context.Process(target=enter, args=(self._modules[role], its, self._given), name=role.value)
        try:
            child.start()
            process = Process(child.pid or 0)
        except (EOFError, OSError):  # the process that makes them was killed, or the new one was
            ours.close()
            return None
        finally:
            its.close()
        self._remember_server(process.parent)
        return Member(role, process, ours, pool=self._given.pool, life=life, now=self._now())

    def anew(self) -> None:
        """End the process that workers are copies of; the next start makes another one. Its copies live on."""
        if self._server is not None:
            self._server.kill()  # left for multiprocessing to reap, which so sees that it has to make another one
            self._server.close()
            self._server = None

    def _remember_server(self, pid: int) -> None:
        """Nobody but a child of ours: an orphan's parent may be the machine's first process."""
        if self._server is not None and self._server.pid == pid:
            return
        with contextlib.suppress(ProcessLookupError):
            server = Process(pid)
            if server.parent != os.getpid():
                server.close()
                return
            if self._server is not None:
                self._server.close()
            self._server = server
