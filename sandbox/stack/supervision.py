"""The supervisor of the stack's programs: its configuration, and its answers over a unix socket.

Supervisor (supervisord.org) starts what it is told to, starts again what dies (at once the first time, then with a
growing wait), rotates the logs, and ends whole process groups. The order of the start is not its business: every
program is started by `up` over XML-RPC when what it needs is there.
"""

import http.client
import shlex
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import supervisor.xmlrpc

from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import Folder, write_private

_xmlrpc: Any = supervisor.xmlrpc

SETTLED = 5
"""Seconds a program has to live to count as started; one that dies earlier waits longer before each new start."""

TRIES = 3
LOG_BYTES = 5 * 1024 * 1024
LOG_BACKUPS = 2
START_SECONDS = 15.0
SAID_LINES = 20
"""Of what the supervisor says that its log does not have."""

GONE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
"""How a supervisor that is not there, or goes away while it is asked, looks from outside."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program.

    Args:
        name: as in the names of its log.
        command: the argument list; no secret in it, since everybody on the machine can read it.
        environment: a file of `NAME=value` lines for /bin/sh, readable by us only.
        user: the account it runs as, or None for ours.
        stop: the signal that ends it.
        stop_group: whether its children are given the signal as well.
        patience: seconds until it is killed when it does not end.
    """

    name: str
    command: Sequence[str]
    environment: Path | None = None
    user: str | None = None
    stop: str = "TERM"
    stop_group: bool = True
    patience: int = 10


@dataclass(frozen=True, slots=True)
class State:
    """How a program is.

    Args:
        name: the program's.
        word: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN (supervisor's words).
        pid: 0 when it does not run.
        since: when it was started, in Unix seconds; 0 when never.
        why: what supervisor says about its last end.
    """

    name: str
    word: str
    pid: int
    since: int
    why: str


def configure(folder: Folder, programs: Sequence[Program]) -> None:
    """Write supervisord.conf."""
    write_private(folder.supervisord_conf, "\n".join([_head(folder), *(_program(folder, p) for p in programs)]))


def start(folder: Folder, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the supervisor, out of reach of the terminal's Ctrl-C, and wait until it answers.

    Args: environment: the whole of it; its programs inherit it.
    Raises: StackFailure.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(folder.supervisord_conf)],
        cwd=folder.home,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # not a file: it dies when it cannot say that its disk is full
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    said = _listen_to(process)
    supervisor = Supervisor(folder)
    deadline = time.monotonic() + START_SECONDS
    while not supervisor.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackFailure(
                f"The supervisor did not start; see {folder.logs / 'supervisord.log'}.\n" + "".join(said).rstrip()
            )
        time.sleep(0.02)
    return process


def _listen_to(process: subprocess.Popen[bytes]) -> Collection[str]:
    """Read what the process says for as long as it lives; the last lines of it are in the answer."""
    said: deque[str] = deque(maxlen=SAID_LINES)

    def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout as output:
            for line in output:
                said.append(line.decode(errors="replace"))

    threading.Thread(target=read, name="supervisor's output", daemon=True).start()
    return said


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A running supervisor, asked over its socket."""

    folder: Folder

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return bool(self._call("getState"))
        except GONE:
            return False

    def states(self) -> dict[str, State]:
        """How every program is.

        Raises: StackFailure when the supervisor does not answer.
        """
        return {
            info["name"]: State(info["name"], info["statename"], info["pid"], info["start"], info["spawnerr"])
            for info in self._ask("getAllProcessInfo")
        }

    def start(self, name: str) -> None:
        """Begin to start a program; one that runs already is left alone."""
        self._ask("startProcess", name, False, accept=ALREADY_STARTED)

    def stop(self, *names: str, patience: float = 20.0) -> None:
        """Tell the programs to end, all at once, and wait until they have."""
        for name in names:
            self._ask("stopProcess", name, False, accept=NOT_RUNNING)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            states = self.states()
            if all(states[name].pid == 0 for name in names):
                return
            time.sleep(0.02)

    def _ask(self, method: str, *arguments: object, accept: int | None = None) -> Any:
        try:
            return self._call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == accept:
                return None
            raise StackFailure(f"The supervisor refused {method}: {fault.faultString}") from fault
        except GONE as error:
            raise StackFailure("The supervisor of the stack does not answer.", reachable=False) from error

    def _call(self, method: str, *arguments: object) -> Any:
        """One call over a connection of its own: supervisor's transport does not recover from a broken one."""
        transport = _xmlrpc.SupervisorTransport(None, None, serverurl=f"unix://{_socket(self.folder)}")
        try:
            rpc = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(rpc.supervisor, method)(*arguments)
        finally:
            transport.close()


ALREADY_STARTED = 60
NOT_RUNNING = 70
"""Codes of supervisor's faults (supervisor.xmlrpc.Faults)."""


def _socket(folder: Folder) -> Path:
    return folder.sockets / "supervisor.sock"


def _head(folder: Folder) -> str:
    return f"""; Generated by `make up`; changes are lost.
[unix_http_server]
file = {_plain(_socket(folder))}
chmod = 0700

[supervisord]
logfile = {_plain(folder.logs / "supervisord.log")}
logfile_maxbytes = {LOG_BYTES}
logfile_backups = 1
loglevel = info
pidfile = {_plain(folder.run / "supervisord.pid")}
directory = {_plain(folder.home)}
childlogdir = {_plain(folder.logs)}
umask = 077
minfds = 1024

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


def _program(folder: Folder, program: Program) -> str:
    lines = {
        "command": _plain(shlex.join(_wrapped(program))),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": SETTLED,
        "startretries": TRIES,
        "stopsignal": program.stop,
        "stopwaitsecs": program.patience,
        "stopasgroup": str(program.stop_group).lower(),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _plain(folder.logs / f"{program.name}.log"),
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": LOG_BACKUPS,
    }
    if program.user is not None:
        lines["user"] = program.user
    return f"[program:{program.name}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


def _wrapped(program: Program) -> Sequence[str]:
    if program.environment is None:
        return program.command
    script = f"set -a && . {shlex.quote(str(program.environment))} && exec {shlex.join(program.command)}"
    return ("/bin/sh", "-c", script)


def _plain(value: object) -> str:
    """Supervisor expands percent signs in every value."""
    return str(value).replace("%", "%%")
