"""A Docker host that runs nothing: the Engine API with its rules, and containers that only say that they run."""

from sandbox.docker.daemon import DockerDaemon
from sandbox.docker.images import IMAGES, SandboxImage

__all__ = ["IMAGES", "DockerDaemon", "SandboxImage"]
