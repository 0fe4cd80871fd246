"""How much memory the stack takes, measured while it runs."""

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator

from sandbox.stack import processes
from sandbox.stack.folder import Folder
from sandbox.stack.processes import PROC

EVERY = 1.0


class Peak:
    """The most that has been seen so far."""

    def __init__(self) -> None:
        self.bytes = 0

    @property
    def mebibytes(self) -> int:
        """Rounded."""
        return round(self.bytes / 1024**2)


@contextlib.contextmanager
def watched(folder: Folder) -> Iterator[Peak]:
    """Look once a second at what all processes of the stack and this one take together."""
    peak, over = Peak(), threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            pids = [os.getpid(), *(process.pid for process in processes.of_stack(folder))]
            peak.bytes = max(peak.bytes, taken(pids))

    watcher = threading.Thread(target=look, name="memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def taken(pids: Iterable[int]) -> int:
    """Bytes, with memory that several processes share counted once (PSS, from Linux' smaps_rollup)."""
    return sum(_of_process(pid) for pid in pids)


def _of_process(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
