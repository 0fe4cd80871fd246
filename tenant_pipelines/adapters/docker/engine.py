"""The Engine API during one call: each method is one request, with its time-out and its errors translated.

Source: Docker Engine API v1.44, through the Docker SDK for Python.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from docker.api.client import APIClient
from docker.tls import TLSConfig

from tenant_pipelines.adapters.docker.container import HOST_LABEL, Container, Image, Settings
from tenant_pipelines.adapters.docker.errors import SYSTEM, Conflict, Missing, translated
from tenant_pipelines.adapters.docker.host import DockerHost, DockerTls
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Answered, InvalidConfiguration, LockHeld
from tenant_pipelines.domain.ports import Application

_new_client: Callable[..., Any] = APIClient  # the SDK has no types
_new_tls: Callable[..., Any] = TLSConfig


@contextmanager
def engine_of(host: DockerHost, call: Call) -> Iterator["Engine"]:
    """A client of its own for one call: its time-out changes with every request."""
    with translated(host.url, "request", writing=False):
        tls = _tls(host.tls) if host.tls else False
        client = _new_client(base_url=host.url, version=host.api_version, timeout=call.seconds_left(), tls=tls)
    client.trust_env = False  # a proxy of this machine's environment is not the way to the Docker host
    try:
        yield Engine(client, host, call)
    finally:
        client.close()


class Engine:
    """The requests that the platform needs."""

    def __init__(self, client: Any, host: DockerHost, call: Call) -> None:  # noqa: ANN401 - the SDK has no types
        self._client = client
        self._host = host
        self._call = call

    def image(self, reference: str) -> Image:
        """The image, which has to be there: a daemon asked to create from a missing one would be asked to pull it."""
        try:
            with self._reading():
                return Image.read(self._client.inspect_image(reference))
        except Missing as error:
            raise InvalidConfiguration(
                SYSTEM, f"image {reference} is not on the Docker host", way_out=f"docker pull {reference}"
            ) from error

    def container(self, name_or_id: str) -> Container | None:
        """The container, or None."""
        try:
            with self._reading():
                return Container.read(self._client.inspect_container(name_or_id))
        except Missing:
            return None

    def containers(self, mark: Mark) -> Sequence[Container]:
        """Every container with the mark, running or not."""
        with self._reading():
            listed = self._client.containers(all=True, filters={"label": _labels(mark)})
            ids = [each["Id"] for each in listed]
        looked = [self.container(each) for each in ids]
        return [each for each in looked if each is not None]

    def create(self, application: Application, mark: Mark) -> Container:
        """Create the container with its mark; it is not started yet."""
        wanted = Settings.wanted(application, self._host)
        host_config = self._client.create_host_config(
            mem_limit=wanted.memory,
            nano_cpus=wanted.nano_cpus,
            restart_policy={"Name": wanted.restart},
            port_bindings={self._host.application_port: (self._host.address, None)},
            network_mode=wanted.network,
        )
        what = f"container {application.name}"
        try:
            with self._writing(what):
                body = self._client.create_container(
                    application.image,
                    name=application.name,
                    environment=dict(application.secret),
                    labels={**mark.labels(), HOST_LABEL: application.host},
                    ports=[self._host.application_port],
                    host_config=host_config,
                    use_config_proxy=False,  # else the SDK adds the proxies of this machine's ~/.docker/config.json
                )
        except Missing as error:
            raise InvalidConfiguration(
                SYSTEM, f"image {application.image} or network {wanted.network} is not on the Docker host"
            ) from error
        return self._surely(body["Id"], what)

    def start(self, container: Container) -> Container:
        """Start it and look at it once more; one that runs already is left running."""
        what = f"container {container.name}"
        try:
            with self._writing(what):
                self._client.start(container.id)
        except Missing as error:
            raise Answered(SYSTEM, f"{what} cannot be started: it, or its network, is not there any more") from error
        return self._surely(container.id, what)

    def _surely(self, container_id: str, what: str) -> Container:
        container = self.container(container_id)
        if container is None:
            raise Answered(SYSTEM, f"{what} was removed by somebody at this moment")
        return container

    def remove(self, container: Container) -> None:
        """Stop it, then remove it; whether it is gone is for the next look to say."""
        if container.status == "removing":
            return
        what = f"container {container.name}"
        try:
            if container.status == "running":
                with self._writing(what):
                    self._stop(container)
            with self._writing(what):
                self._client.remove_container(container.id, v=True, force=True)
        except (Missing, Conflict):
            return  # gone, or "removal is already in progress": a forced removal knows no other conflict

    def _stop(self, container: Container) -> None:
        seconds = self._client.timeout
        grace = min(self._host.stop_seconds, int(seconds // 2))
        self._client.timeout = seconds - grace  # the SDK adds the grace again
        self._client.stop(container.id, timeout=grace)

    def volumes(self, mark: Mark) -> Sequence[str]:
        """The names of the volumes with the mark."""
        with self._reading():
            body = self._client.volumes(filters={"label": _labels(mark)})
            return [each["Name"] for each in body["Volumes"] or ()]

    def remove_volume(self, name: str) -> None:
        """Remove it, unless a container that is not ours uses it."""
        try:
            with self._writing(f"volume {name}"):
                self._client.remove_volume(name)
        except Missing:
            return
        except Conflict as error:
            way_out = f"docker ps -a --filter volume={name}"
            raise LockHeld(SYSTEM, f"volume {name} is in use", way_out=way_out) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._client.timeout = self._call.seconds_left()
        with translated(self._host.url, "request", writing=False):
            yield

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        self._client.timeout = self._call.before_write()
        with translated(self._host.url, what, writing=True):
            yield


def _labels(mark: Mark) -> list[str]:
    return [f"{name}={value}" for name, value in mark.labels().items()]


def _tls(tls: DockerTls) -> Any:  # noqa: ANN401 - the SDK has no types
    return _new_tls(client_cert=(str(tls.certificate), str(tls.key)), ca_cert=str(tls.authority), verify=True)
