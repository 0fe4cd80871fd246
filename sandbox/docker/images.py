"""The images that a Docker host begins with, and what their containers do once started."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.store import Document


@dataclass(frozen=True, slots=True)
class SandboxImage:
    """An image of the stand-in.

    Args:
        reference: name and tag.
        environment: what its containers begin with.
        health: what the health check of a container comes to after a while: `healthy`, `unhealthy`, or None for an
            image without a health check.
        exit_code: its containers end with this code as soon as they are started, or None when they stay up.
    """

    reference: str
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    health: str | None = None
    exit_code: int | None = None

    def document(self) -> Document:
        """As it is kept in the store."""
        return {
            "reference": with_tag(self.reference),
            "environment": [f"{name}={value}" for name, value in self.environment.items()],
            "health": self.health,
            "exit_code": self.exit_code,
            "id": "sha256:" + digest(self.reference, str(dict(self.environment))),
        }


IMAGES = (
    SandboxImage("tenant-application:latest"),
    SandboxImage("tenant-application:checked", health="healthy"),
    SandboxImage("tenant-application:sick", health="unhealthy"),
    SandboxImage("tenant-application:broken", exit_code=1),
)
"""What a first run finds on the host: one that works, and three to see the others' ends with."""


def digest(*parts: str) -> str:
    """64 hexadecimal digits, the same for the same parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def with_tag(reference: str) -> str:
    """The reference as Docker stores it: without the default registry, with a tag (`nginx` is `nginx:latest`)."""
    short = reference.removeprefix("docker.io/").removeprefix("library/")
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"


def image_body(image: Document) -> dict[str, Any]:
    """The body of ImageInspect."""
    check = {"Test": ["CMD", "/healthy"]} if image["health"] else None
    return {
        "Id": image["id"],
        "RepoTags": [image["reference"]],
        "RepoDigests": [],
        "Created": "2026-01-01T00:00:00Z",
        "Architecture": "amd64",
        "Os": "linux",
        "Size": 12_000_000,
        "Config": {
            "Env": image["environment"],
            "Cmd": ["/application"],
            "Labels": None,
            **({"Healthcheck": check} if check else {}),
        },
        "RootFS": {"Type": "layers", "Layers": []},
    }


def image_summaries(images: Sequence[Document]) -> list[dict[str, Any]]:
    """The body of ImageList."""
    return [
        {
            "Id": image["id"],
            "ParentId": "",
            "RepoTags": [image["reference"]],
            "RepoDigests": [],
            "Created": 1_767_225_600,
            "Size": 12_000_000,
            "SharedSize": -1,
            "Containers": -1,
            "Labels": None,
        }
        for image in images
    ]
