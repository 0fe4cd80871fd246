"""Starts the whole stack, keeps an eye on it, and ends it: the life of `tenant-pipelines up`.

What does not need each other starts at the same time. Whatever ends the start or the stack (a signal, a part that
does not come up, the supervisor's death), everything that was started is ended before `running` is left.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import postgres
from sandbox.stack import credentials, generated, ports, processes, programs, stop, supervision
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import Folder, Lock
from sandbox.stack.log_lines import WORKFLOWS
from sandbox.stack.names import CODE_SOCKET
from sandbox.stack.ports import Ports
from sandbox.stack.programs import CODE, DAEMON, POSTGRES, REST, S3, STAND_INS, WEB, WORKERS, Choice
from sandbox.stack.readiness import Broken, Check, Probe, listens, pool_is_ready
from sandbox.stack.supervision import State, Supervisor

LOOK_EVERY = 0.1
WATCH_EVERY = 1.0
NEARLY_FULL = 20 * 1024**2
"""Bytes; with less than this on its disk PostgreSQL may refuse the next write."""
LAST_LINES = 15
BIGGEST_LOG = 50 * 1024 * 1024
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SSL_CERT_FILE")
"""What the parts get of the environment, beside LC_* and our own settings. Proxies are left out: all is on loopback."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A part answers."""

    part: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Died:
    """A part has ended by itself. `again` is False when it is not started any more."""

    part: str
    log: Path
    again: bool


@dataclass(frozen=True, slots=True)
class DiskFull:
    """The stack's disk takes next to nothing any more; until there is room its parts answer with errors."""

    place: Path
    free: int


Notice = Ready | Died | DiskFull
Tell = Callable[[Notice], None]


@dataclass
class Stack:
    """A stack that is being started, or runs.

    Args:
        folder: where it lives.
        around: its ports.
        choice: what it is made of.
        tell: hears of what happens.
    """

    folder: Folder
    around: Ports
    choice: Choice
    tell: Tell
    document: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _began: float = field(default_factory=time.monotonic)
    _seen: dict[str, State] = field(default_factory=dict[str, State])
    _full: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def supervisor(self) -> Supervisor:
        """Who runs its programs."""
        return Supervisor(self.folder)

    async def start(self) -> None:
        """Start everything and wait until it answers.

        Raises: StackFailure, naming the part that did not, its log, and the log's last lines.
        """
        made = credentials.ensure(self.folder)
        generated.write_all(self.folder, self.around, made, pool=self.choice.product)
        supervision.configure(self.folder, programs.programs(self.folder, self.around, made, self.choice))
        environment = _environment(self.folder, self.around)
        self._process = supervision.start(self.folder, environment)
        probe = Probe()
        try:
            async with asyncio.TaskGroup() as group:
                data = group.create_task(self._databases(made.postgres_password, environment))
                group.create_task(self._stand_ins(probe))
                if self.choice.product:
                    code = group.create_task(self._code_server())
                    group.create_task(self._dagster(probe, data, code))
                    group.create_task(self._workers(made.control_plane_password, data))
                if self.choice.rest:
                    group.create_task(self._rest(probe, data))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            await probe.close()
        self.document = generated.stack(self.around, dagster=self.choice.product, rest=self.choice.rest)
        generated.write_stack(self.folder, self.document)
        self._seen = self.supervisor.states()

    async def watch(self) -> None:
        """Tell of every part that dies, until the stack is ended.

        Raises: StackFailure when the supervisor itself has died.
        """
        while True:
            await asyncio.sleep(WATCH_EVERY)
            if self._process is not None and self._process.poll() is not None:
                raise StackFailure(
                    f"The supervisor of the stack ended with code {self._process.returncode}; "
                    f"see {self.folder.logs / 'supervisord.log'}."
                )
            _rotate(self.folder.logs / WORKFLOWS)
            for notice in [*self._changes(self.supervisor.states()), *self._fullness()]:
                self.tell(notice)

    def _fullness(self) -> Sequence[Notice]:
        """Told when it comes to that, and not again before there was room in between."""
        free = self.folder.free
        told, self._full = self._full, free < (2 * NEARLY_FULL if self._full else NEARLY_FULL)
        return [DiskFull(self.folder.local, free)] if self._full and not told else []

    def _changes(self, now: Mapping[str, State]) -> Sequence[Notice]:
        notices: list[Notice] = []
        for name, state in now.items():
            before = self._seen[name]
            if _ended(before, state):
                notices.append(Died(name, self._log(name), again=state.word != "FATAL"))
        self._seen = dict(now)
        return notices

    async def _databases(self, password: str, environment: Mapping[str, str]) -> None:
        """PostgreSQL and S3, then what is in them. What fills them starts at once: it takes a while to be loaded."""
        filling = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sandbox.stack.set_up",
            str(self.folder.home),
            cwd=self.folder.home,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            self.supervisor.start(S3)
            data = programs.postgres_place(self.folder) / "data"
            await asyncio.to_thread(_initialise, data, password)
            self.supervisor.start(POSTGRES)
            end = asyncio.ensure_future(filling.communicate())
            while not (await asyncio.wait({end}, timeout=LOOK_EVERY))[0]:
                self._refuse_dead(POSTGRES, S3)
        finally:
            if filling.returncode is None:
                filling.kill()
        if filling.returncode != 0:
            raise StackFailure(_last_lines(end.result()[1].decode("utf-8", "replace")))
        self._ready(POSTGRES)
        self._ready(S3)

    async def _stand_ins(self, probe: Probe) -> None:
        self.supervisor.start(STAND_INS)

        async def all_answer() -> bool:
            urls = [generated.switch_url(self.around, name) for name in generated.SERVICES]
            return all(await asyncio.gather(*(probe.http(f"{url}/_sandbox/faults") for url in urls)))

        await self._until(STAND_INS, all_answer, seconds=60)

    async def _code_server(self) -> None:
        socket = self.folder.sockets / CODE_SOCKET
        socket.unlink(missing_ok=True)
        self.supervisor.start(CODE)
        await self._until(CODE, lambda: listens(socket), seconds=120)

    async def _dagster(self, probe: Probe, data: asyncio.Task[None], code: asyncio.Task[None]) -> None:
        await asyncio.gather(asyncio.shield(data), asyncio.shield(code))
        began = time.time()
        self.supervisor.start(WEB)
        self.supervisor.start(DAEMON)
        url = self.around.url("dagster")
        await self._until(WEB, lambda: probe.dagster(url), seconds=120)
        await self._until(DAEMON, lambda: probe.daemon(url, since=began), seconds=60)

    async def _workers(self, password: str, data: asyncio.Task[None]) -> None:
        await asyncio.shield(data)
        self.supervisor.start(WORKERS)
        url = generated.database_url("control_plane", self.around, password)
        await self._until(WORKERS, lambda: asyncio.to_thread(pool_is_ready, url), seconds=120)

    async def _rest(self, probe: Probe, data: asyncio.Task[None]) -> None:
        await asyncio.shield(data)
        self.supervisor.start(REST)
        await self._until(REST, lambda: probe.http(self.around.url("rest", "/health/live")), seconds=60)

    async def _until(self, name: str, check: Check, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not await self._says_yes(name, check):
            self._refuse_dead(name)
            if time.monotonic() > deadline:
                raise self._failure(name, f"did not answer within {seconds:.0f} s")
            await asyncio.sleep(LOOK_EVERY)
        self._ready(name)

    async def _says_yes(self, name: str, check: Check) -> bool:
        try:
            return await check()
        except Broken as error:
            raise self._failure(name, f"does not work: {error}") from error

    def _refuse_dead(self, *names: str) -> None:
        """What ends while the stack is being started would end the next time too; only later is it tried again."""
        states = self.supervisor.states()
        for name in names:
            if states[name].word in ("BACKOFF", "FATAL"):
                raise self._failure(name, "ended while it was being started")

    def _ready(self, part: str) -> None:
        self.tell(Ready(part, time.monotonic() - self._began))

    def _log(self, name: str) -> Path:
        return self.folder.logs / f"{name}.log"

    def _failure(self, name: str, why: str) -> StackFailure:
        log = self._log(name)
        lines = _last_lines(log.read_text(errors="replace")) if log.exists() else ""
        return StackFailure(f"{name} {why}. The end of {log}:\n{lines}")


@asynccontextmanager
async def running(folder: Folder, *, tell: Tell, choice: Choice | None = None) -> AsyncIterator[Stack]:
    """Start the stack, hand it over once all of it answers, and end it when left, in whatever way.

    Raises: StackFailure.
    """
    around = ports.from_environment()
    folder.prepare()
    lock = Lock(folder)
    if not lock.take():
        raise StackFailure(
            f"A stack runs in {folder.home} already (process {lock.holder()}). Way out: use it, or end it: make down"
        )
    try:
        if left := processes.of_stack(folder):
            raise StackFailure(
                f"A stack was left behind in {folder.home} ({len(left)} processes). Way out: end it: make down"
            )
        stack = Stack(folder, around, choice or Choice(), tell)
        ports.refuse_taken(around, _wanted(stack.choice))
        try:
            folder.open_sockets()
            with _marked(folder):
                await stack.start()
            yield stack
        finally:
            await _uninterrupted(asyncio.to_thread(stop.end, folder))
    finally:
        lock.release()


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Wait until it is done; whoever wants to stop us meanwhile is heard only then."""
    task = asyncio.ensure_future(work)
    told = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            told = True
    task.result()
    if told:
        raise asyncio.CancelledError


def until_told_to_stop(main: Callable[[], Coroutine[Any, Any, None]], *, again: Callable[[], None]) -> bool:
    """Run a coroutine to its end, or until SIGINT, SIGTERM or SIGHUP; True when it came to its own end.

    Args: again: called for every signal after the first one; the clean-up goes on.
    """
    return asyncio.run(_interruptible(main, again))


async def _interruptible(main: Callable[[], Coroutine[Any, Any, None]], again: Callable[[], None]) -> bool:
    task = asyncio.ensure_future(main())
    told = False

    def interrupt() -> None:
        nonlocal told
        if told:
            again()
        else:
            told = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    with contextlib.suppress(asyncio.CancelledError):
        await task
        return not told
    return False


def _rotate(log: Path) -> None:
    """Put a large log aside, in the place of the one put aside before; whoever writes to it notices by itself."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > BIGGEST_LOG:
            log.replace(log.with_name(f"{log.name}.1"))


def _ended(before: State, now: State) -> bool:
    """Whether the program has ended by itself between the two looks (one that was told to is STOPPED meanwhile)."""
    if now.word in ("BACKOFF", "FATAL"):
        return now.word != before.word
    return before.pid != 0 and now.pid not in (0, before.pid)


def _first(error: BaseException) -> BaseException:
    """The failure that ended the others, out of the groups that it comes in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _wanted(choice: Choice) -> list[str]:
    left_out = {"dagster": not choice.product, "rest": not choice.rest}
    return [name for name in ports.BASE if not left_out.get(name, False)]


def _environment(folder: Folder, around: Ports) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(("LC_", "TENANT_PIPELINES_"))
    }
    return kept | {"PYTHONUNBUFFERED": "1", ports.OFFSET: str(around.offset)} | processes.marker(folder)


@contextlib.contextmanager
def _marked(folder: Folder) -> Iterator[None]:
    """Lets what is started without an environment of its own (initdb) be found and ended as well."""
    added = processes.marker(folder)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _initialise(data: Path, password: str) -> None:
    try:
        postgres.initialise(data, password)
    except postgres.NotStarted as error:
        raise StackFailure(str(error)) from error


def _last_lines(text: str) -> str:
    """The end of a log without the indented lines: those are stack frames, which bury what went wrong."""
    return "\n".join([line for line in text.splitlines() if line[:1].strip()][-LAST_LINES:])
