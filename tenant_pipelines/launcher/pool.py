"""Starts a pool: `python -m tenant_pipelines.launcher`, and the command `workers`."""

import argparse
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from uuid import uuid4

import psycopg

from tenant_pipelines import settings
from tenant_pipelines.launcher.members import GUARD, Forkserver, Role
from tenant_pipelines.launcher.options import DEFINITIONS, Options, options_of
from tenant_pipelines.launcher.ownership import Ownership, Taken
from tenant_pipelines.launcher.rows import Rows
from tenant_pipelines.launcher.supervisor import Supervisor
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches

FAILED, USAGE, UNREACHABLE = 1, 2, 3
PATIENCE = 2.0
"""Seconds for which the supervisor waits for the database in the middle of a turn."""
MODULES = {Role.WORKER: "tenant_pipelines.launcher.worker", Role.WAKER: "tenant_pipelines.launcher.waker"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a pool in the foreground until SIGTERM or SIGINT; answers the contract's exit code."""
    parser = argparse.ArgumentParser(
        prog="tenant-pipelines workers", description="Keep warm workers for Dagster's runs."
    )
    parser.add_argument("--size", type=_size, default=None, help="how many workers (setting `workers`)")
    parser.add_argument("--definitions", default=DEFINITIONS, help="the module with the definitions")
    asked = parser.parse_args(arguments)
    try:
        given = settings.load()
    except settings.InvalidSettings as invalid:
        tell(str(invalid))
        return USAGE
    return run(options_of(given, size=asked.size, definitions=asked.definitions), MODULES)


def run(options: Options, modules: Mapping[Role, str], *, guard: str = GUARD) -> int:
    """A pool, in this process's main thread.

    Args: modules: what each role does; without a waker among them there is none. guard: preloads what they need.
    """
    pool = uuid4()
    database = Database(options.url, patience=PATIENCE, size=1)
    woken, wake = socket.socketpair()
    supervisor = Supervisor(
        options,
        ownership=lambda: Ownership(options.url),
        start=Forkserver(pool, options.definitions, modules, guard=guard),
        rows=Rows(Launches(database), options, pool=pool, born=time.monotonic(), tell=tell),
        waker=Role.WAKER in modules,
        tell=tell,
        signals=woken,
    )
    try:
        supervisor.own()
        _on_signals(supervisor, wake)
        return supervisor.run()
    except Taken as taken:
        tell(str(taken))
        return FAILED
    except psycopg.OperationalError:
        tell(f"The ledger's database {database.away()}. Way out: start it, or see TENANT_PIPELINES_DATABASE_URL.")
        return UNREACHABLE
    finally:
        database.close()
        signal.set_wakeup_fd(-1)
        for end in (woken, wake):
            end.close()


def tell(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(f"workers: {text}\n")
    sys.stderr.flush()


def _on_signals(supervisor: Supervisor, wake: socket.socket) -> None:
    """Python writes a signal's number into the socket, where the supervisor reads it between two turns."""

    def handler(number: int, _: FrameType | None) -> None:
        if supervisor.empty:  # it waits for the definitions to be imported, perhaps for ever, and has nothing to end
            raise SystemExit(128 + number)

    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
    signal.signal(signal.SIGHUP, lambda *_: None)


def _size(text: str) -> int:
    allowed = settings.Settings.model_fields["workers"].metadata
    least, most = (next(getattr(rule, name) for rule in allowed if hasattr(rule, name)) for name in ("ge", "le"))
    if not text.isdigit() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text} workers: choose from {least} to {most}; each is a process")
    return int(text)
