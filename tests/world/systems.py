"""The outside systems of the local stack, started for one test process: PostgreSQL, S3 and every stand-in."""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from sandbox import postgres
from sandbox.postgres import Server
from sandbox.stack import credentials, database, generated, processes, programs
from sandbox.stack.credentials import Credentials
from sandbox.stack.folder import Folder
from sandbox.stack.names import CONTROL_SOCKET, PRODUCT
from sandbox.stack.ports import HOST, OFFSET, Ports
from sandbox.stack.programs import POSTGRES, S3, STAND_INS, Choice
from sandbox.stack.supervision import Program
from tests.stack.conftest import free_offset

START_WITHIN = 60.0
NAMES = tuple(generated.SERVICES)
DOWN = 100
"""So many times refused, and the proxies close their port."""


def until(condition: Callable[[], bool], what: str, *, seconds: float = START_WITHIN) -> None:
    """Return once the condition holds; an AssertionError names what has not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a tenant's in one system, as its inspection shows it."""

    system: str
    kind: str
    name: str
    ours: bool
    id: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.system} {self.kind}"


@dataclass
class Systems:
    """All of them, with their switches and inspections."""

    folder: Folder
    ports: Ports
    made: Credentials
    http: httpx.Client
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])
    _asking: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(len(NAMES)))

    def switch(self, name: str) -> str:
        """Where a system's switch and inspection are."""
        return generated.switch_url(self.ports, name) + "/_sandbox"

    def break_(self, system: str, operation: str, mode: str, *, times: int = 99, tenant: str | None = None) -> None:
        """Let the next calls of one operation of one system go wrong, beside what is wrong already."""
        fault = {"operation": operation, "mode": mode, "times": times} | ({"tenant": tenant} if tenant else {})
        url = f"{self.switch(system)}/faults"
        self.http.put(url, json=[*self.http.get(url).json(), fault]).raise_for_status()

    def mend(self, *names: str) -> None:
        """Nothing goes wrong any more in these systems, or in any."""
        list(self._asking.map(self._mend_one, names or NAMES))

    def _mend_one(self, name: str) -> None:
        self.http.put(f"{self.switch(name)}/faults", json=[]).raise_for_status()

    def left_to_break(self, system: str) -> int:
        """How many calls of that system are still to go wrong."""
        return sum(fault["times"] for fault in self.http.get(f"{self.switch(system)}/faults").json())

    def things_of(self, tenant: str, *names: str) -> set[Thing]:
        """Everything there is of a tenant, ours or not, in these systems or in all."""
        return {thing for found in self._asking.map(lambda n: self._look(n, tenant), names or NAMES) for thing in found}

    def _look(self, name: str, tenant: str) -> list[Thing]:
        answer = self.http.get(f"{self.switch(name)}/state", params={"tenant": tenant}).raise_for_status()
        return [Thing(name, o["kind"], o["name"], o["ours"], o["id"]) for o in answer.json()["objects"]]

    @property
    def server(self) -> Server:
        """PostgreSQL itself, as its administrator reaches it: past the proxy."""
        return Server(HOST, self.ports["postgres_server"], self.made.postgres_password)

    @contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """The product's database, as its administrator sees it."""
        with psycopg.connect(self.server.dsn(PRODUCT), autocommit=True) as connection:
            yield connection

    def start(self, name: str) -> None:
        """Start one of the programs."""
        program = next(p for p in programs.programs(self.folder, self.ports, self.made, Choice()) if p.name == name)
        self._running[name] = _begin(program, self.folder, self.ports)

    def stop(self, name: str) -> None:
        """End one of the programs; PostgreSQL at once and cleanly."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGINT if name == POSTGRES else signal.SIGTERM)
        process.wait(timeout=20)

    def restart_part(self, name: str) -> None:
        """As one restarts a container: the part's connections are cut, and it comes back with all that it knew."""
        transport = httpx.HTTPTransport(uds=str(self.folder.sockets / CONTROL_SOCKET))
        with httpx.Client(transport=transport, timeout=20) as control:
            control.post(f"http://stand-ins/restart/{name}").raise_for_status()

    def secrets(self) -> Mapping[str, str]:
        """Every secret in credentials.json, by a name for people. Access keys are names, and no secrets."""
        return {name: getattr(self.made, name) for name in credentials.PLACES if not name.endswith("access_key")}


def _begin(program: Program, folder: Folder, ports: Ports) -> subprocess.Popen[bytes]:
    """Started as the stack does; ended with us, even when we are killed: a watcher sees our end of a pipe close."""
    account: dict[str, Any] = {}
    if program.user is not None and (user := postgres.account()):
        account = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    unsynced: Sequence[str] = ("-c", "fsync=off", "-c", "synchronous_commit=off") if program.name == POSTGRES else ()
    with (folder.logs / f"{program.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*program.command, *unsynced],
            cwd=folder.home,
            env=os.environ | {OFFSET: str(ports.offset)} | processes.marker(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **account,
        )
    watcher = [
        "/bin/sh",
        "-c",
        'read _; kill -INT "$1" 2>/dev/null; kill -TERM "$1" 2>/dev/null',
        "w",
        str(process.pid),
    ]
    _watchers.append(subprocess.Popen(watcher, stdin=subprocess.PIPE, start_new_session=True))
    return process


_watchers: list[subprocess.Popen[bytes]] = []


@contextmanager
def running(settings: Mapping[str, str]) -> Iterator[Systems]:
    """Start everything in a folder of its own and end it.

    Args: settings: of the product, in the place of the generated ones, by the names of their variables.
    """
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-world-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)  # PostgreSQL runs as another user when we are root
        folder = Folder(home)
        folder.prepare()
        folder.open_sockets()
        made = credentials.ensure(folder)
        (home / ".env").write_text("".join(f"{variable}={value}\n" for variable, value in settings.items()))
        limits = httpx.Limits(keepalive_expiry=2)  # less than the servers', which hang up on an idle connection
        with httpx.Client(timeout=30, trust_env=False, limits=limits) as http:
            with _one_at_a_time():  # the ports that are free now are taken when another process looks
                systems = Systems(folder, Ports(free_offset()), made, http)
                try:
                    _start_all(systems)
                except BaseException:
                    _end(systems)
                    raise
            try:
                yield systems
            finally:
                _end(systems)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"tenant-pipelines-world-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_all(systems: Systems) -> None:
    generated.write_all(systems.folder, systems.ports, systems.made)
    systems.start(S3)
    systems.start(STAND_INS)
    postgres.initialise(programs.postgres_place(systems.folder) / "data", systems.made.postgres_password)
    systems.start(POSTGRES)
    database.set_up(systems.server, systems.made)
    for name in NAMES:
        until(lambda name=name: _answers(systems, name), f"{name} answers")  # type: ignore[misc]


def _answers(systems: Systems, name: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return systems.http.get(f"{systems.switch(name)}/state", params={"tenant": "nobody"}).is_success
    return False


def _end(systems: Systems) -> None:
    processes.end(systems.folder, patience=0)
    for watcher in _watchers:
        watcher.kill()
        watcher.communicate()
    _watchers.clear()
    for process in systems._running.values():
        process.wait()
