"""Ends a stack: first what is ours, then what it builds on, then whatever is left of either."""

import contextlib
import os
import shutil
import signal
import time

from sandbox.stack import processes
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import Folder, Lock
from sandbox.stack.programs import PRODUCT
from sandbox.stack.supervision import Supervisor

PATIENCE = 60.0
"""Seconds that `down` gives to the `up` that it has asked to end."""


def end(folder: Folder) -> None:
    """End every process of the stack, whatever state it is in. For whoever holds the lock."""
    folder.stack_json.unlink(missing_ok=True)
    supervisor = Supervisor(folder)
    if supervisor.answers():
        # It may go away while it is asked; what it leaves is ended below.
        with contextlib.suppress(StackFailure):
            known = supervisor.states()
            supervisor.stop(*(name for name in PRODUCT if name in known))
            supervisor.stop(*(name for name in known if name not in PRODUCT))
    # The supervisor itself is among them; it would take a second or two to notice that nothing is left to do.
    processes.end(folder)
    if folder.sockets != folder.run:
        shutil.rmtree(folder.sockets, ignore_errors=True)


def down(folder: Folder) -> bool:
    """End the stack of this folder, in the foreground elsewhere or left behind; False when there is none.

    Raises: StackFailure when the `up` that runs elsewhere does not end.
    """
    lock = Lock(folder)
    if (pid := lock.holder()) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        _wait_for(lock, pid)
        return True
    if not folder.run.exists() or not (processes.of_stack(folder) or folder.stack_json.exists()):
        return False
    if not lock.take():
        raise StackFailure("Another `up` or `down` has just begun in this folder.")
    try:
        end(folder)
    finally:
        lock.release()
    return True


def _wait_for(lock: Lock, pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while lock.holder() is not None:
        if time.monotonic() > deadline:
            raise StackFailure(
                f"The stack (process {pid}) does not end. Way out: kill -9 {pid}, then tenant-pipelines down."
            )
        time.sleep(0.05)
