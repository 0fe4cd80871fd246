"""What a supervisor concludes from what it sees, as plain functions. Times are monotonic seconds, memory is bytes."""

from dataclasses import dataclass

from tenant_pipelines.launcher.options import Options

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
FIRST_ANEW, LONGEST_ANEW = 2.0, 30.0
"""Before everything is loaded anew because it could not be: that takes seconds of a core each time."""
MATURE = 600.0
"""After so long a process that carries out no runs may be replaced for its memory: a successor will be smaller."""
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is known of a warm process.

    Args:
        born: when it was started. ready: it has said so. heard: its last sign of life. stopped: since when it has been
        stopped, or None. ended: runs that it has carried out. memory: resident. broken: it has no code location, and
        never will be ready.
    """

    born: float
    heard: float
    ready: bool = False
    stopped: float | None = None
    ended: int = 0
    memory: int = 0
    broken: bool = False


def why_lost(seen: Vitals, now: float, options: Options) -> str | None:
    """Why the process is to be killed and its run to go on elsewhere; None while it is well."""
    if seen.stopped is not None and now - seen.stopped >= options.stopped:
        return f"it has been stopped for {now - seen.stopped:.0f} s"
    if now - seen.heard >= options.silence:
        return f"it has given no sign of life for {now - seen.heard:.0f} s"
    if not (seen.ready or seen.broken) and now - seen.born >= options.begin:
        return f"it was not ready after {now - seen.born:.0f} s"
    return None


def why_replaced(seen: Vitals, now: float, options: Options) -> str | None:
    """Why the process is to be replaced after its present run; None while it may go on."""
    if seen.ended >= options.max_runs:
        return f"it has carried out {seen.ended} runs"
    if seen.memory >= options.max_memory and (seen.ended > 0 or now - seen.born >= MATURE):
        return f"it has grown to {seen.memory // MIB} MiB"
    return None


def successor_first(available: int, options: Options) -> bool:
    """Whether a process may be started before the one that it replaces has ended."""
    return available >= 2 * options.max_memory


def pause_before_start(failures: int) -> float:
    """How long to wait before another start, when so many in a row have died before they were ready."""
    return _doubled(FIRST_PAUSE, LONGEST_PAUSE, failures)


def pause_before_anew(breaks: int) -> float:
    """How long to wait before everything is loaded anew, when so many tries in a row had no code location."""
    return _doubled(FIRST_ANEW, LONGEST_ANEW, breaks)


def _doubled(first: float, longest: float, times: int) -> float:
    return min(longest, first * 2.0 ** min(times - 1, 10)) if times else 0.0
