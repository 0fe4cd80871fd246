"""What an inspection of a container or an image says, as far as it matters here.

Source: Docker Engine API v1.44, ContainerInspect and ImageInspect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tenant_pipelines.adapters.docker.host import DockerHost
from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.ports import Application

HOST_LABEL = "host"
"""Label beside the mark: the name the application answers to, for whatever proxy stands in front."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on the Docker host; its environment is what every container of it begins with."""

    id: str
    environment: Mapping[str, str]

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """From the body of ImageInspect."""
        return cls(body["Id"], _pairs((body.get("Config") or {}).get("Env")))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a container may use and how it is reached, in the Engine API's units (bytes, billionths of a core)."""

    memory: int
    nano_cpus: int
    network: str
    restart: str
    ports: Mapping[str, Sequence[str]]

    @classmethod
    def wanted(cls, application: Application, host: DockerHost) -> Self:
        """The settings that the application is to have on that host."""
        ports = {f"{host.application_port}/tcp": [host.address]}
        return cls(application.memory, application.cpu * 1_000_000, host.network, "unless-stopped", ports)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """From the HostConfig of ContainerInspect; the host's port is Docker's choice and not compared."""
        bound = body.get("PortBindings") or {}
        ports = {port: [binding["HostIp"] for binding in bindings or ()] for port, bindings in bound.items()}
        return cls(body["Memory"], body["NanoCpus"], body["NetworkMode"], body["RestartPolicy"]["Name"], ports)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is; `status` and `health` are Docker's own words."""

    id: str
    name: str
    labels: Mapping[str, str]
    status: str
    health: str
    exit_code: int
    started_at: str
    image_id: str
    environment: Mapping[str, str] = field(repr=False)
    settings: Settings
    published: str | None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Self:
        """From the body of ContainerInspect."""
        state, config = body["State"], body["Config"]
        ports = [p for listed in (body["NetworkSettings"].get("Ports") or {}).values() for p in listed or ()]
        return cls(
            id=body["Id"],
            name=body["Name"].removeprefix("/"),
            labels=config.get("Labels") or {},
            status=state["Status"],
            health=(state.get("Health") or {}).get("Status", "none"),
            exit_code=state["ExitCode"],
            started_at=state["StartedAt"],
            image_id=body["Image"],
            environment=_pairs(config.get("Env")),
            settings=Settings.read(body["HostConfig"]),
            published=f"{ports[0]['HostIp']}:{ports[0]['HostPort']}" if ports else None,
        )

    def belongs_to(self, mark: Mark) -> bool:
        """Whether it carries the mark."""
        return mark.labels().items() <= self.labels.items()

    def is_as_wanted(self, application: Application, image: Image, host: DockerHost) -> bool:
        """Whether it may be kept; Docker can change nothing of what is compared here in a container that exists."""
        return (
            self.status != "dead"
            and self.image_id == image.id
            and self.environment == {**image.environment, **application.secret}
            and self.settings == Settings.wanted(application, host)
            and self.labels.get(HOST_LABEL) == application.host
        )

    def waits_for(self, *, running_since: str | None) -> str | None:
        """What is still missing until it counts as up, or None.

        A container that dies at once is "running" for a moment: without a health check it is up only when two looks
        saw it running since the same moment. `running_since`: what the look before saw.
        """
        match self.status, self.health:
            case "running", "healthy":
                missing = None
            case "running", "starting":
                missing = "has not passed its health check yet"
            case "running", "unhealthy":
                missing = f"fails its health check: docker logs {self.name}"
            case "running", _:
                missing = None if running_since == self.started_at else "is running and watched whether it stays up"
            case (("created" | "exited"), _):
                missing = "is not running yet"
            case "restarting", _:
                missing = f"ends with exit code {self.exit_code} and is started again: docker logs {self.name}"
            case "paused", _:
                missing = f"is paused: docker unpause {self.name}"
            case "removing", _:
                missing = "is being removed by Docker"
            case status, _:
                missing = f"is {status}"
        return missing


def _pairs(environment: Sequence[str] | None) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in environment or ())}
