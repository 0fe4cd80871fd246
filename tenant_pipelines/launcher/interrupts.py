"""Interrupts that can only hit the run that they are meant for: they name a lease."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNAL = signal.SIGUSR1


class Interrupts:
    """Of one worker: asked for in the channel's thread, acted upon in the main thread.

    The signal itself means nothing. Its handler runs in the main thread, between two of its instructions, and looks
    whether the lease that is to be interrupted is the one held at that moment.
    """

    def __init__(self) -> None:
        self.acted = False
        """A run was interrupted: what it has left in this process is not to be trusted."""
        self._held: int | None = None
        self._wanted: int | None = None

    def install(self) -> None:
        """Take over the signal; in the main thread."""
        signal.signal(SIGNAL, lambda *_: self._act())

    def want(self, lease: int) -> None:
        """Interrupt the run of that lease, if it is carried out now; from any thread."""
        self._wanted = lease
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)

    @contextmanager
    def holding(self, lease: int) -> Iterator[None]:
        """Within, interrupts of that lease are acted upon; also one that came before."""
        self._held = lease
        try:
            self._act()
            yield
        finally:
            self._held = None

    def _act(self) -> None:
        """Do what Ctrl-C would do at this moment: Dagster puts its own handler there while a run goes on."""
        if self._held is None or self._held != self._wanted or self.acted:
            return
        self.acted = True
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, None)
