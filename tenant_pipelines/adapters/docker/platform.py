"""The platform of the deployment step, on Docker."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.adapters.docker.container import Container
from tenant_pipelines.adapters.docker.engine import Engine, engine_of
from tenant_pipelines.adapters.docker.errors import SYSTEM
from tenant_pipelines.adapters.docker.host import DockerHost
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import ResourceAlreadyExists
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import Application, Look

LOOK_AGAIN_AFTER = 1.0
"""Seconds between two looks at a container that is coming up or going away."""


class Docker:
    """Runs each tenant's application as one container: `replicas` is ignored, there is no second host to spread to.

    The container carries the mark from the moment it exists (labels are part of its creation), so one that was
    created and never started is known to be ours, and the next attempt starts it.
    """

    def __init__(self, host: DockerHost) -> None:
        self._host = host

    def deploy(
        self, *, application: Application, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Ensured | Pending:
        """Create or adopt the container and start it, then follow it until it stays up (or is healthy).

        A container of ours whose image, environment or limits are no longer the wanted ones is made anew.

        Raises: InvalidConfiguration when the image is not on the host: nothing is ever pulled.
        """
        with engine_of(self._host, call) as engine:
            followed = engine.container(token["container"]) if token else None
            if token is None or followed is None or not followed.belongs_to(mark):
                return self._apply(engine, application, mark)
            return _bring_up(engine, followed, application, token)

    def remove(self, *, name: str, mark: Mark, token: Mapping[str, str] | None, call: Call) -> Removal | Pending:
        """Remove every container and volume that carries the mark, under whatever name it goes by now."""
        with engine_of(self._host, call) as engine:
            named = engine.container(name)
            containers = engine.containers(mark)
            for each in containers:
                engine.remove(each)
            if left := engine.containers(mark):
                return _going(left[0])
            volumes = engine.volumes(mark)
            for volume in volumes:
                engine.remove_volume(volume)
        ref = _ref(name, named.id if named else name)
        if named is not None and not named.belongs_to(mark):
            return NotOurs(ref)
        return Removed(ref) if containers or volumes or token else NothingToRemove(ref)

    def look(self, *, name: str, token: Mapping[str, str], call: Call) -> Look:
        """Whether the container is still coming up, or going away; nothing is written."""
        del name  # the token has the container's id
        with engine_of(self._host, call) as engine:
            container = engine.container(token["container"])
        if container is None or container.status in {"created", "exited"}:
            return Look.MOVED
        if "outcome" not in token:  # it is to go away
            return Look.GOES_ON if container.status == "removing" else Look.MOVED
        # One that runs without a health check is up, or to be watched from now on: both are for `deploy` to say.
        return Look.MOVED if container.waits_for(running_since=container.started_at) is None else Look.GOES_ON

    def find(self, *, name: str, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """Every container and volume with the mark, whatever its name."""
        del name  # the daemon searches by label
        with engine_of(self._host, call) as engine:
            containers = [_ref(each.name, each.id) for each in engine.containers(mark)]
            return containers + [ObjectRef("docker", "volume", each, each) for each in engine.volumes(mark)]

    def _apply(self, engine: Engine, application: Application, mark: Mark) -> Ensured | Pending:
        image = engine.image(application.image)
        there = engine.container(application.name)
        outcome = "adopted" if there else "created"
        if there is not None and there.status == "removing":
            return _going(there)
        if there is not None and not there.belongs_to(mark):
            raise ResourceAlreadyExists(
                SYSTEM,
                f"container {application.name} exists and was not made for this tenant",
                way_out=f"docker rename {application.name} NEW_NAME, if somebody needs it; docker rm it otherwise",
            )
        if there is not None and not there.is_as_wanted(application, image, self._host):
            engine.remove(there)
            there = None
        if there is None:
            there = engine.create(application, mark)
        return _bring_up(engine, there, application, {"outcome": outcome})


def _bring_up(
    engine: Engine, container: Container, application: Application, token: Mapping[str, str]
) -> Ensured | Pending:
    if container.status in {"created", "exited"}:
        container = engine.start(container)
    outcome = token.get("outcome", "created")
    waits_for = container.waits_for(running_since=token.get("started"))
    if waits_for is not None:
        following = {"container": container.id, "outcome": outcome, "started": container.started_at}
        return Pending(f"container {container.name} {waits_for}", following, LOOK_AGAIN_AFTER)
    ref = _ref(container.name, container.id, f"http://{container.published}" if container.published else None)
    facts = {"image": application.image, "container": container.id[:12], "address": container.published or ""}
    return Created(ref, facts) if outcome == "created" else Adopted(ref, facts)


def _ref(name: str, container_id: str, url: str | None = None) -> ObjectRef:
    return ObjectRef("docker", "container", name, container_id, url)


def _going(container: Container) -> Pending:
    reason = f"container {container.name} is being removed by Docker"
    return Pending(reason, {"container": container.id}, LOOK_AGAIN_AFTER)
