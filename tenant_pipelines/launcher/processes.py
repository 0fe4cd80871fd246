"""Processes that cannot be taken for one another: a pid is used again, a descriptor of a process is not (Linux)."""

import os
import select
import signal
from pathlib import Path

STOPPED = "T"
_STATE, _PARENT, _STARTED = 0, 1, 19  # in what follows the command's name in /proc/PID/stat


class Process:
    """One process, whoever its parent is. Its file descriptor is readable once it has ended.

    Raises: ProcessLookupError when there is none with that pid.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        try:
            stat = _stat(pid)
        except ProcessLookupError:
            os.close(self._fd)
            raise
        self.started = float(stat[_STARTED])
        self.parent = int(stat[_PARENT])

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._fd

    def ended(self, within: float = 0) -> bool:
        """Whether it has ended, or does so within so many seconds."""
        return bool(select.select([self._fd], [], [], within)[0])

    def stopped(self) -> bool:
        """Whether somebody has stopped it (SIGSTOP): it lives, and does nothing."""
        try:
            return not self.ended() and _stat(self.pid)[_STATE] == STOPPED
        except ProcessLookupError:
            return False

    def kill(self, within: float = 2.0) -> bool:
        """End it without a chance to clean up; whether it has ended after so many seconds."""
        if not self.ended():
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
        return self.ended(within)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def find(pid: int, started: float) -> Process | None:
    """The process that has this pid and was started then; None when it has ended."""
    try:
        process = Process(pid)
    except ProcessLookupError:
        return None
    if process.started == started and not process.ended():
        return process
    process.close()
    return None


def started_at(pid: int) -> float:
    """When the process was started, in clock ticks since boot. Raises: ProcessLookupError."""
    return float(_stat(pid)[_STARTED])


def memory_available(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new processes can have: the machine's, or what the container may still use where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        limit, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return machine
    return machine if limit == "max" else min(machine, max(0, int(limit) - int(used)))


def _stat(pid: int) -> list[str]:
    """What follows the command's name in /proc/PID/stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    return text.rpartition(")")[2].split()
