"""Which Docker host, and how the applications run on it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DockerTls:
    """PEM files with which the Docker host and we prove to each other who we are."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class DockerHost:
    """The Docker host that the applications run on.

    Args:
        url: of the Engine API: `tcp://host:port` or `unix:///path`.
        tls: wanted for any `tcp://` that is not on loopback: without it the API asks nobody who they are.
        api_version: of the Engine API; fixed, so that a newer daemon answers in the form that is read here.
        application_port: TCP port on which the application listens inside its container.
        address: address of the host on which that port is published; loopback leaves the way in to a proxy.
        network: Docker network the container is joined to.
        stop_seconds: time a container has to end by itself before it is killed.
    """

    url: str
    tls: DockerTls | None = None
    api_version: str = "1.44"
    application_port: int = 8080
    address: str = "127.0.0.1"
    network: str = "bridge"
    stop_seconds: int = 10
