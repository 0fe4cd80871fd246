"""The one table of ports. All of them move together by TENANT_PIPELINES_PORT_OFFSET; all are on loopback only."""

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.stack.failure import StackFailure

HOST = "127.0.0.1"
OFFSET = "TENANT_PIPELINES_PORT_OFFSET"
HIGHEST = 65535
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")

BASE: Mapping[str, int] = {
    # What the contract promises.
    "postgres": 5432,
    "keycloak": 8180,
    "s3": 9000,
    "s3_health": 9001,
    "dagster": 3000,
    "rest": 14000,
    # Stand-ins, beside the usual ports of kind, Docker, mDNS and a local Novu.
    "terraform": 8480,
    "kubernetes": 6444,
    "docker": 2385,
    "dns": 5300,
    "stripe": 12111,
    "novu": 3030,
    "app_plane": 4100,
    # Fault switches of the parts that do not speak HTTP, or whose protocol leaves no room for one.
    "postgres_switch": 5431,
    "s3_switch": 9002,
    "dns_switch": 5301,
    # The real servers behind the two proxies.
    "postgres_server": 5430,
    "s3_server": 9010,
    # SeaweedFS takes a row of eight for its parts, and finds the last one's gRPC at that number plus 10000.
    **{f"s3_server_part_{number}": 9011 + number for number in range(8)},
    "s3_server_part_8": 19018,
}

USERS: Mapping[str, str] = {
    "postgres": "PostgreSQL",
    "s3": "S3",
    "s3_health": "the health check of S3",
    "dagster": "the Dagster UI",
    "rest": "the REST API",
    "dns": "DNS",
    "postgres_switch": "the fault switch of PostgreSQL",
    "s3_switch": "the fault switch of S3",
    "dns_switch": "the fault switch of DNS",
    "postgres_server": "the PostgreSQL server",
    "s3_server": "the S3 server",
}
"""Who wants a port, where the name alone does not say it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one stack.

    Args:
        offset: added to every number of the table.
    """

    offset: int = 0

    def __getitem__(self, name: str) -> int:
        return BASE[name] + self.offset

    def url(self, name: str, path: str = "") -> str:
        """The HTTP address of a part."""
        return f"http://{HOST}:{self[name]}{path}"


def from_environment(environment: Mapping[str, str] = os.environ) -> Ports:
    """The ports that the offset in the environment asks for.

    Raises: StackFailure when it is no number, or moves a port out of range.
    """
    text = environment.get(OFFSET, "").strip() or "0"
    room = _room()
    if not text.isascii() or not text.isdigit() or int(text) > room:
        raise StackFailure(f"{OFFSET} must be a whole number from 0 to {room}.")
    return Ports(int(text))


def refuse_taken(ports: Ports, names: Iterable[str]) -> None:
    """Make sure that nobody listens where we are going to.

    Raises: StackFailure that names every taken port and what wants it.
    """
    taken = [f"Port {ports[name]} is in use; {_user(name)} wants it." for name in names if _taken(name, ports[name])]
    if taken:
        way_out = (
            f"Way out: end what listens there (ss -ltnp), or move all ports of the stack by setting {OFFSET}, "
            f"for example {OFFSET}={(ports.offset + 2000) % _room()}."
        )
        raise StackFailure("\n".join([*taken, way_out]))


def _room() -> int:
    """The largest offset with which no port is one of those that the system gives to outgoing connections."""
    highest = max(BASE.values())
    with contextlib.suppress(OSError):
        first = int(OUTGOING.read_text().split()[0])
        if first > highest:
            return first - 1 - highest
    return HIGHEST - highest


def _user(name: str) -> str:
    return USERS.get(re.sub(r"_part_\d$", "", name), f"the {name.replace('_', ' ')} stand-in")


def _taken(name: str, port: int) -> bool:
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if name == "dns" else (socket.SOCK_STREAM,)
    return any(_refused(kind, port) for kind in kinds)


def _refused(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            # Otherwise connections of the stack before, which linger for a minute, would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
