"""What lies where in `.local/`, and the lock that lets one stack at a time work in it."""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.stack.failure import StackFailure

NEEDED = 300 * 1024 * 1024
"""Bytes that must be free: a fresh PostgreSQL and S3 take about half of it."""

LONGEST_SOCKET = 100
"""Characters in the path of a unix socket, on every system that matters (107 on Linux)."""

MODE = 0o711 if os.geteuid() == 0 else 0o700
"""Root's PostgreSQL runs as another user, who has to walk through; what is inside is closed one by one."""

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Folder:
    """The places of one stack.

    Args:
        home: the folder that holds `.local/`; every part of the stack runs in it.
    """

    home: Path = CHECKOUT

    @property
    def local(self) -> Path:
        """All of it; ours alone to read."""
        return self.home / ".local"

    @property
    def logs(self) -> Path:
        """A log for each program, and worker.log."""
        return self.local / "logs"

    @property
    def run(self) -> Path:
        """What only a running stack needs: lock, process ids, generated configuration."""
        return self.local / "run"

    @property
    def sandbox(self) -> Path:
        """The memory of the stand-ins, a SQLite file each."""
        return self.local / "sandbox"

    @property
    def s3(self) -> Path:
        """The data of the S3 server."""
        return self.local / "s3"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.local / "dagster_home"

    @property
    def stack_json(self) -> Path:
        """Where everything is; there while all parts answer."""
        return self.local / "stack.json"

    @property
    def credentials_json(self) -> Path:
        """How to get in."""
        return self.local / "credentials.json"

    @property
    def settings_env(self) -> Path:
        """The product's settings."""
        return self.local / "settings.env"

    @property
    def shell_env(self) -> Path:
        """What a person's shell needs."""
        return self.local / "env"

    @property
    def dagster_env(self) -> Path:
        """What Dagster's processes need."""
        return self.run / "dagster.env"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl."""
        return self.local / "kubeconfig"

    @property
    def workspace(self) -> Path:
        """Dagster's workspace: the one code server that daemon and webserver share."""
        return self.local / "workspace.yaml"

    @property
    def supervisord_conf(self) -> Path:
        """What the supervisor runs."""
        return self.run / "supervisord.conf"

    @property
    def sockets(self) -> Path:
        """Where the unix sockets are: `run`, or a short private folder when that path is too long for a socket."""
        if len(os.fsencode(self.run.absolute())) + len("/supervisor.sock") <= LONGEST_SOCKET:
            return self.run
        name = hashlib.sha256(os.fsencode(self.home.absolute())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tenant-pipelines-{os.geteuid()}-{name}"

    def prepare(self) -> None:
        """Make the folders and prove that they can be written to.

        Raises: StackFailure when they cannot, or when the disk is full.
        """
        with readable_errors(self.local):
            self.local.mkdir(parents=True, exist_ok=True)
            self.local.chmod(MODE)
            for folder in (self.run, self.logs, self.sandbox, self.s3, self.dagster_home):
                folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.local) as probe:
                probe.write(bytes(1024 * 1024))
                probe.flush()
        free = self.free
        if free < NEEDED:
            raise StackFailure(
                f"The disk is full: {free // 1024**2} MiB are free for {self.local}, "
                f"{NEEDED // 1024**2} MiB are needed. Way out: make room, then start again."
            )

    @property
    def free(self) -> int:
        """Bytes that its disk still takes."""
        return shutil.disk_usage(self.local).free

    def open_sockets(self) -> None:
        """Make the folder of the sockets, which `stop.end` removes again where it is not in here.

        Raises: StackFailure when somebody else was there before.
        """
        with readable_errors(self.sockets):
            self.sockets.mkdir(mode=0o700, exist_ok=True)
            found = self.sockets.lstat()
            if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                raise StackFailure(f"{self.sockets} belongs to somebody else. Way out: remove it.")
            self.sockets.chmod(0o700)


@contextmanager
def readable_errors(place: Path) -> Iterator[None]:
    """Say what a full disk or a closed folder means."""
    try:
        yield
    except OSError as error:
        where = error.filename or place
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"The disk is full: {where} cannot be written. Way out: make room, then start again."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = f"{where} cannot be written ({error.strerror}). Way out: give {place} to the user who runs this."
        else:
            reason = f"{where}: {error.strerror}"
        raise StackFailure(reason) from error


class Lock:
    """Held by `up` as long as it runs; the system releases it when the process dies, however that happens."""

    def __init__(self, folder: Folder) -> None:
        self._file = folder.run / "up.pid"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock and leave our process id in it; False when somebody has it."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The process id of whoever has it; None when nobody does."""
        try:
            descriptor = os.open(self._file, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(os.read(descriptor, 20) or b"0")
        finally:
            os.close(descriptor)
        return None


def write_private(file: Path, text: str) -> None:
    """Write a file that only we can read; a reader sees the old one or the new one, never a part."""
    with readable_errors(file.parent):
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # made with mode 0600
        try:
            with os.fdopen(descriptor, "w") as output:
                output.write(text)
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
