"""Docker: the tenant's application as one container on one Docker host."""

from tenant_pipelines.adapters.docker.host import DockerHost, DockerTls
from tenant_pipelines.adapters.docker.platform import Docker

__all__ = ["Docker", "DockerHost", "DockerTls"]
