"""What supervisor and warm processes say to each other, over a pipe, and the warm process's end of it.

The supervisor's silence means nothing. Its end of the pipe closing means that it is gone.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from uuid import UUID

BEAT_EVERY = 0.5
"""Seconds between two signs of life."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a warm process is told at its birth. Args: pool: this life of the supervisor. definitions: a module."""

    pool: UUID
    definitions: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life.

    Args:
        ready: it has opened what it needs. lease: of the run that it carries out. ended: runs that it has carried out.
        memory: bytes resident, those included that it shares with its siblings.
    """

    ready: bool
    lease: int | None
    ended: int
    memory: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Something for the supervisor's stderr."""

    text: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """No process of this pool can ever work, and why: the supervisor is to end it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The code location cannot be imported, and why: this process carries out nothing, but others may soon."""

    reason: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """It takes no further run, and ends."""


Said = Beat | Tell | Unfit | Broken | Leaving
"""What a warm process says."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """End the run of this lease; nothing if it is not (any more) the one that is carried out."""

    lease: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Take no further run, and end after the present one."""


class Channel:
    """The warm process's end: a thread that gives signs of life and hears what it is told.

    Its file descriptor is readable from the moment on that the process is to end.

    Args: connection: the pipe. on_interrupt: called in that thread, with the lease's number.
    """

    def __init__(self, connection: "Connection[Said, Interrupt | Finish]") -> None:
        self.stopping = threading.Event()
        """The process is to end after what it does now."""
        self.orphaned = False
        """The supervisor is gone."""
        self.on_interrupt: Callable[[int], None] = lambda _: None
        """Called in the channel's thread, with the lease's number."""
        self.on_orphaned: Callable[[], None] = lambda: None
        """Called in the channel's thread."""
        self._connection = connection
        self._sending = threading.Lock()
        self._to_stop = os.eventfd(0)
        self._ready = False
        self._lease: int | None = None
        self._ended = 0

    def open(self) -> None:
        """Give signs of life from now on."""
        threading.Thread(target=self._run, name="channel", daemon=True).start()

    def fileno(self) -> int:
        """Readable once the process is to end."""
        return self._to_stop

    def ready(self) -> None:
        """The process has opened all that it needs."""
        self._ready = True
        self._beat()

    def begun(self, lease: int) -> None:
        """It carries out the run of that lease."""
        self._lease = lease

    def ended(self) -> None:
        """It has ended its run."""
        self._lease = None
        self._ended += 1

    def tell(self, text: str) -> None:
        """Have the supervisor write a line; lost if there is none any more."""
        self._send(Tell(text))

    def unfit(self, reason: str) -> None:
        """Have the supervisor end the whole pool."""
        self._send(Unfit(reason))

    def broken(self, reason: str) -> None:
        """Have the supervisor load everything anew, again and again, until the code location can be imported."""
        self._send(Broken(reason))

    def leaving(self) -> None:
        """The process ends of its own accord."""
        self._send(Leaving())

    def _run(self) -> None:
        due = 0.0
        with contextlib.suppress(EOFError, OSError):
            while True:
                if time.monotonic() >= due:
                    due = time.monotonic() + BEAT_EVERY
                    self._beat()
                if self._connection.poll(max(0.0, due - time.monotonic())):
                    self._obey(self._connection.recv())
        self.orphaned = True
        self._stop()
        self.on_orphaned()

    def _obey(self, said: Interrupt | Finish) -> None:
        match said:
            case Interrupt(lease):
                self.on_interrupt(lease)
            case Finish():
                self._stop()

    def _stop(self) -> None:
        self.stopping.set()
        os.eventfd_write(self._to_stop, 1)

    def _beat(self) -> None:
        self._send(Beat(self._ready, self._lease, self._ended, resident_bytes()))

    def _send(self, said: Said) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(said)


def resident_bytes() -> int:
    """Memory of this process that is resident, as `VmRSS`."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def enter(module: str, connection: "Connection[Said, Interrupt | Finish]", given: Assignment) -> None:
    """Where every warm process begins: `main(channel, given)` of that module, with signs of life from the first moment.

    Its own process group keeps a terminal's Ctrl-C away from it: the supervisor alone says when it ends.
    """
    import importlib  # noqa: PLC0415 - this is the child

    os.setpgid(0, 0)
    channel = Channel(connection)
    channel.open()
    try:
        begin = importlib.import_module(module).main
    except Exception as error:  # what the waker works with is a part of the code location
        channel.broken(f"{module} cannot be imported: {type(error).__name__}: {error}")
        channel.stopping.wait()
        return
    begin(channel, given)
