"""The parts of a running stack as people name them: how they are, where they are, and how one is restarted."""

import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import psycopg

from sandbox.postgres import Server
from sandbox.stack import credentials, generated
from sandbox.stack.failure import StackFailure, UnknownPart
from sandbox.stack.folder import Folder
from sandbox.stack.names import CODE_SOCKET, CONTROL_SOCKET, DRAIN
from sandbox.stack.ports import BASE, Ports
from sandbox.stack.programs import PARTS, STAND_INS, WORKERS
from sandbox.stack.readiness import pool_is_broken, pool_is_ready
from sandbox.stack.supervision import State, Supervisor

PATIENCE = 60.0
"""Seconds that a part may take to answer after a restart."""
WORKER = "worker"
BROKEN = "BROKEN"
"""The state of a worker that runs, and takes no run: its code location cannot be imported."""
WORKER_ENDS = DRAIN + 15.0
"""Seconds that a part may take to end: what executes workflows hands its runs over first."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a part is."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Part:
    """How a part is.

    Args:
        state: supervisor's word for its program, or BROKEN.
        pid: 0 when it does not run.
        seconds: for how long its program has run.
        url: where it answers; empty for the worker.
    """

    name: str
    state: str
    pid: int
    seconds: int
    url: str

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def as_row(self) -> tuple[str, ...]:
        """For people."""
        return self.name, self.state.lower(), str(self.pid or ""), f"{self.seconds} s" if self.pid else "", self.url


def document(folder: Folder) -> Mapping[str, Any]:
    """The contents of stack.json.

    Raises: StackFailure when no stack runs.
    """
    try:
        found: Mapping[str, Any] = json.loads(folder.stack_json.read_text())
    except FileNotFoundError as error:
        raise StackFailure("No stack runs here. Way out: make up", reachable=False) from error
    return found


def addresses(folder: Folder) -> list[Address]:
    """Where each part of the stack is."""
    written = document(folder)
    found = [Address(name, place["url"]) for name, place in written["services"].items()]
    return found + [Address(name, written[name]["url"]) for name in ("dagster", "rest") if name in written]


def status(folder: Folder) -> list[Part]:
    """How each part is.

    Raises: StackFailure when no stack runs.
    """
    urls = {address.name: address.url for address in addresses(folder)}
    states = Supervisor(folder).states()
    found = [
        _part(name, [states[program] for program in programs], urls.get(name, ""))
        for name, programs in PARTS.items()
        if all(program in states for program in programs)
    ]
    return [replace(part, state=BROKEN) if _is_broken(folder, part) else part for part in found]


def restart(folder: Folder, name: str) -> None:
    """Stop the part, start it again, and wait until it answers.

    Raises: StackFailure when there is no such part, no stack, or the part does not come back.
    """
    document(folder)
    if name not in PARTS:
        raise UnknownPart(f"There is no part {name}. The parts are: {', '.join(PARTS)}.")
    if PARTS[name] == (STAND_INS,):
        _ask_stand_ins(folder, name)
        return
    supervisor = _supervisor_of(folder, name)
    supervisor.stop(*PARTS[name], patience=WORKER_ENDS)
    for program in reversed(PARTS[name]):
        supervisor.start(program)
    _wait_for(folder, name)


def stop_worker(folder: Folder) -> None:
    """Stop what executes workflows.

    Raises: StackFailure when no stack runs.
    """
    document(folder)
    _supervisor_of(folder, "worker").stop(*PARTS["worker"], patience=WORKER_ENDS)


def start_worker(folder: Folder) -> None:
    """Start what executes workflows, and wait until it answers.

    Raises: StackFailure.
    """
    document(folder)
    supervisor = _supervisor_of(folder, "worker")
    for program in PARTS["worker"]:
        supervisor.start(program)
    _wait_for(folder, "worker")


def _supervisor_of(folder: Folder, name: str) -> Supervisor:
    """The supervisor, if the part is one of those that it runs."""
    supervisor = Supervisor(folder)
    if not set(PARTS[name]) <= set(supervisor.states()):
        raise StackFailure(f"This stack has no {name}: it was started with --systems-only. Way out: make down, make up")
    return supervisor


def _part(name: str, states: Sequence[State], url: str) -> Part:
    worst = next((state for state in states if state.pid == 0), states[0])
    seconds = int(time.time()) - worst.since if worst.pid else 0
    return Part(name, worst.word, worst.pid, seconds, url)


def why_broken(folder: Folder) -> str:
    """What is to be said of a worker whose state is BROKEN."""
    return (
        "The worker runs, but begins no run, as its code location cannot be imported; none is lost. "
        f"Way out: see why ({folder.logs / f'{WORKERS}.log'}) and mend it; the worker tries again by itself."
    )


def _is_broken(folder: Folder, part: Part) -> bool:
    return part.name == WORKER and part.pid != 0 and pool_is_broken(_ledger_url(folder))


def _wait_for(folder: Folder, name: str) -> None:
    check = _check(folder, name)
    supervisor = Supervisor(folder)
    deadline = time.monotonic() + PATIENCE
    while not check():
        states = supervisor.states()
        if any(states[program].word == "FATAL" for program in PARTS[name]) or time.monotonic() > deadline:
            logs = " and ".join(str(folder.logs / f"{program}.log") for program in PARTS[name])
            raise StackFailure(f"{name} does not come back; see {logs}.", reachable=False)
        time.sleep(0.05)


def _check(folder: Folder, name: str) -> Callable[[], bool]:
    """How one sees that the part answers again."""
    written = document(folder)
    if name == "postgres":
        place, password = written["database"], credentials.ensure(folder).postgres_password
        return lambda: _postgres_answers(Server(place["host"], place["port"], password))
    if name == "s3":
        return lambda: _http_answers(_ports(written).url("s3_health", "/minio/health/ready"))
    if name == "dagster":
        return lambda: _listens(folder) and _http_answers(written[name]["url"] + "/server_info")
    if name == "rest":
        return lambda: _http_answers(written[name]["url"] + "/health/live")
    url = _ledger_url(folder)
    return lambda: _pool_answers(folder, url)


def _ledger_url(folder: Folder) -> str:
    password = credentials.ensure(folder).control_plane_password
    return generated.database_url("control_plane", _ports(document(folder)), password)


def _pool_answers(folder: Folder, url: str) -> bool:
    """Raises: StackFailure for a pool that runs and takes no run, which waiting does not mend."""
    if pool_is_broken(url):
        raise StackFailure(why_broken(folder))
    return pool_is_ready(url)


def _ports(written: Mapping[str, Any]) -> Ports:
    """The ports of the stack that runs, whatever this shell's environment says."""
    return Ports(written["database"]["port"] - BASE["postgres"])


def _postgres_answers(server: Server) -> bool:
    try:
        psycopg.connect(server.dsn(), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _http_answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _listens(folder: Folder) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(folder.sockets / CODE_SOCKET)) == 0


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of the host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask_stand_ins(folder: Folder, name: str) -> None:
    connection = _UnixConnection(str(folder.sockets / CONTROL_SOCKET))
    try:
        connection.request("POST", f"/restart/{name}")
        status = connection.getresponse().status
    except OSError as error:
        raise StackFailure("The stand-ins do not answer.", reachable=False) from error
    finally:
        connection.close()
    if status != 200:
        raise StackFailure(f"{name} could not be restarted; see {folder.logs / f'{STAND_INS}.log'}.")
