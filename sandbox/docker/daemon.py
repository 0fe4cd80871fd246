"""The Engine API of the Docker stand-in.

As a real daemon without TLS it asks nobody who they are; paths work with a version in front and without.
Source: Docker Engine API v1.44.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.docker.containers import inspection, is_alive, new_container, status, summary
from sandbox.docker.images import IMAGES, SandboxImage, digest, image_body, image_summaries, with_tag
from sandbox.docker.rules import (
    CORES,
    NETWORKS,
    Refused,
    check_creation,
    check_name,
    has_labels,
    keeps,
    parse_filters,
    parse_json,
)
from sandbox.standin import HALF, Seen, StandIn
from sandbox.store import Document, Store

API_VERSION = "1.44"
OLDEST_API_VERSION = "1.24"
VERSION = "25.0.0"
REMOVAL_TAKES = 1.0
"""Seconds for which a removal that was only half done is "in progress"."""

_VERSIONED = re.compile(r"/v(\d+\.\d+)(/.*)")
_CONTAINER_FILTERS = frozenset({"label", "name", "status", "id"})
_TRUE = frozenset({"1", "true", "True"})

Handler = Callable[[Request], Awaitable[Response]]


class DockerDaemon(StandIn):
    """One Docker host.

    Args:
        images: what is on the host when it is started for the first time.
    """

    name = "docker"

    def __init__(self, store: Store | None = None, *, images: Sequence[SandboxImage] = IMAGES) -> None:
        super().__init__(store)
        for image in images:
            self.add_image(image)

    def add_image(self, image: SandboxImage) -> None:
        """Put the image on the host; one of the same name is replaced, as a pull or build does."""
        document = image.document()
        self.store.put("image", document["reference"], document)

    def error(self, status: int, message: str) -> Response:
        """The daemon's own form."""
        return JSONResponse({"message": message}, status_code=status)

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Every container and volume."""
        shown = [("container", c["id"], c["name"], c["config"]["Labels"]) for c in self._containers()]
        shown += [("volume", v["Name"], v["Name"], v["Labels"]) for v in self.store.all("volume")]
        return [
            (Seen(kind, key, name, labels.get("managedBy") == "tenant-pipelines"), f"{name} {labels}")
            for kind, key, name, labels in shown
        ]

    def app(self) -> ASGIApp:
        """The stand-in with the API's version taken off the path, so that operations are named without it."""
        behind = super().app()

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            versioned = _VERSIONED.fullmatch(scope["path"]) if scope["type"] == "http" else None
            if versioned is None:
                await behind(scope, receive, send)
            elif problem := _version_problem(versioned[1]):
                await self.error(400, problem)(scope, receive, send)
            else:
                await behind({**scope, "path": versioned[2], "raw_path": versioned[2].encode()}, receive, send)

        return entry

    def routes(self) -> Sequence[BaseRoute]:
        """The part of the Engine API that tenants' applications and people at the docker command need."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/_ping", self._ping),
            ("GET", "/version", self._version),
            ("GET", "/info", self._info),
            ("GET", "/images/json", self._list_images),
            ("POST", "/images/create", self._pull),
            ("GET", "/images/{name:path}/json", self._inspect_image),
            ("GET", "/containers/json", self._list),
            ("POST", "/containers/create", self._create),
            ("GET", "/containers/{id}/json", self._inspect),
            ("GET", "/containers/{id}/logs", self._logs),
            ("POST", "/containers/{id}/start", self._start),
            ("POST", "/containers/{id}/stop", self._stop),
            ("POST", "/containers/{id}/kill", self._kill),
            ("POST", "/containers/{id}/restart", self._restart),
            ("POST", "/containers/{id}/pause", self._pause),
            ("POST", "/containers/{id}/unpause", self._unpause),
            ("POST", "/containers/{id}/rename", self._rename),
            ("DELETE", "/containers/{id}", self._remove),
            ("GET", "/volumes", self._list_volumes),
            ("POST", "/volumes/create", self._create_volume),
            ("GET", "/volumes/{name}", self._inspect_volume),
            ("DELETE", "/volumes/{name}", self._remove_volume),
        ]
        known = [Route(path, self._refusing(handler), methods=[method]) for method, path, handler in table]
        return [*known, Route("/{path:path}", self._not_known, methods=["GET", "POST", "PUT", "DELETE"])]

    def _refusing(self, handler: Handler) -> Handler:
        @wraps(handler)
        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused as refused:
                return self.error(refused.status, refused.message)

        return handle

    async def _not_known(self, _: Request) -> Response:
        return self.error(404, "page not found")

    async def _ping(self, request: Request) -> Response:
        headers = {
            "Api-Version": API_VERSION,
            "Ostype": "linux",
            "Docker-Experimental": "false",
            "Builder-Version": "2",
        }
        return PlainTextResponse("" if request.method == "HEAD" else "OK", headers=headers)

    async def _version(self, _: Request) -> Response:
        return JSONResponse(
            {"Version": VERSION, "ApiVersion": API_VERSION, "MinAPIVersion": OLDEST_API_VERSION}
            | {"Os": "linux", "Arch": "amd64", "GitCommit": "sandbox", "GoVersion": "none", "KernelVersion": "none"}
            | {"Platform": {"Name": "tenant-pipelines sandbox"}, "Components": []}
        )

    async def _info(self, _: Request) -> Response:
        containers = self._containers()
        return JSONResponse(
            {"ID": "sandbox", "Name": "sandbox", "ServerVersion": VERSION, "OSType": "linux", "NCPU": CORES}
            | {"MemTotal": 16 * 2**30, "Containers": len(containers), "Images": len(self.store.all("image"))}
            | {"ContainersRunning": sum(status(each) == "running" for each in containers)}
        )

    async def _list_images(self, _: Request) -> Response:
        return JSONResponse(image_summaries(self.store.all("image")))

    async def _inspect_image(self, request: Request) -> Response:
        return JSONResponse(image_body(self._image(request.path_params["name"])))

    async def _pull(self, request: Request) -> Response:
        """Every name can be had, as if it were in a registry."""
        name, tag = request.query_params.get("fromImage", ""), request.query_params.get("tag")
        if not name:
            raise Refused(400, "invalid reference format")
        reference = with_tag(f"{name}:{tag}" if tag else name)
        self.add_image(SandboxImage(reference))
        return JSONResponse({"status": f"Status: Downloaded newer image for {reference}"})

    def _image(self, name: str) -> Document:
        by_id = (each for each in self.store.all("image") if name in {each["id"], each["id"].removeprefix("sha256:")})
        image = self.store.get("image", with_tag(name)) or next(by_id, None)
        if image is None:
            raise Refused(404, f"No such image: {with_tag(name)}")
        return image

    def _containers(self) -> list[Document]:
        now = time.time()
        for each in self.store.all("container"):
            if each["gone"] is not None and each["gone"] <= now:
                self.store.delete("container", each["id"])
        return self.store.all("container")

    def _container(self, request: Request) -> Document:
        """By id, by name, or by the beginning of an id, as the daemon looks it up."""
        given = request.path_params["id"]
        for each in self._containers():
            if given.removeprefix("/") == each["name"] or each["id"].startswith(given):
                return each
        raise Refused(404, f"No such container: {given}")

    def _put(self, container: Document) -> None:
        self.store.put("container", container["id"], container)

    async def _list(self, request: Request) -> Response:
        filters = parse_filters(request.query_params.get("filters"), _CONTAINER_FILTERS)
        everything = request.query_params.get("all") in _TRUE or "status" in filters
        shown = [each for each in self._containers() if (everything or is_alive(each)) and keeps(filters)(each)]
        return JSONResponse([summary(each) for each in reversed(shown)])

    async def _create(self, request: Request) -> Response:
        body = parse_json(await request.body(), request.headers.get("content-type", ""))
        check_creation(body)
        image = self._image(body["Image"])
        number = 1 + max((each["number"] for each in self.store.all("counter")), default=0)
        self.store.put("counter", "container", {"number": number})
        key = digest("container", str(number))
        name = request.query_params.get("name") or f"container_{number}"
        self._check_free(name)
        self._put(new_container(number, key, name.removeprefix("/"), body, image))
        return JSONResponse({"Id": key, "Warnings": []}, status_code=201)

    def _check_free(self, name: str) -> None:
        check_name(name)
        for each in self._containers():
            if each["name"] == name.removeprefix("/"):
                raise Refused(
                    409,
                    f'Conflict. The container name "/{each["name"]}" is already in use by container "{each["id"]}". '
                    "You have to remove (or rename) that container to be able to reuse that name.",
                )

    async def _inspect(self, request: Request) -> Response:
        return JSONResponse(inspection(self._container(request)))

    async def _logs(self, request: Request) -> Response:
        container = self._container(request)
        line = f"{container['name']}: a container of the sandbox, nothing runs in it\n".encode()
        frame = b"\x01\x00\x00\x00" + len(line).to_bytes(4, "big") + line
        return Response(frame, media_type="application/vnd.docker.multiplexed-stream")

    async def _start(self, request: Request) -> Response:
        container = self._container(request)
        if is_alive(container):
            return Response(status_code=304)
        if status(container) == "removing":
            raise Refused(409, "container is marked for removal and cannot be started")
        if (mode := container["host_config"]["NetworkMode"]) not in NETWORKS:
            raise Refused(404, f"failed to set up container networking: network {mode} not found")
        self._run(container)
        return Response(status_code=204)

    async def _stop(self, request: Request) -> Response:
        container = self._container(request)
        if not is_alive(container):
            return Response(status_code=304)
        self._end(container, 143)
        return Response(status_code=204)

    async def _kill(self, request: Request) -> Response:
        container = self._container(request)
        if not is_alive(container):
            key = container["id"]
            given = request.path_params["id"]
            raise Refused(409, f"cannot kill container: {given}: container {key} is not running")
        self._end(container, 137)
        return Response(status_code=204)

    async def _restart(self, request: Request) -> Response:
        self._run(self._container(request))
        return Response(status_code=204)

    async def _pause(self, request: Request) -> Response:
        return self._paused(self._container(request), paused=True)

    async def _unpause(self, request: Request) -> Response:
        return self._paused(self._container(request), paused=False)

    def _paused(self, container: Document, *, paused: bool) -> Response:
        if status(container) != ("running" if paused else "paused"):
            wrong = "is not running" if paused else "is not paused"
            raise Refused(409 if paused else 500, f"Container {container['id']} {wrong}")
        self._put({**container, "paused": paused})
        return Response(status_code=204)

    async def _rename(self, request: Request) -> Response:
        container = self._container(request)
        name = request.query_params.get("name", "")
        self._check_free(name)
        self._put({**container, "name": name.removeprefix("/")})
        return Response(status_code=204)

    def _run(self, container: Document) -> None:
        self._put({**container, "started": time.time(), "ended": None, "paused": False})

    def _end(self, container: Document, code: int) -> None:
        self._put({**container, "ended": time.time(), "exit_code": code, "paused": False})

    async def _remove(self, request: Request) -> Response:
        container = self._container(request)
        given = request.path_params["id"]
        if status(container) == "removing":
            raise Refused(409, f"removal of container {given} is already in progress")
        if is_alive(container) and request.query_params.get("force") not in _TRUE:
            what = f'cannot remove container "/{container["name"]}"'
            raise Refused(
                409, f"{what}: container is {status(container)}: stop the container before removing or force remove"
            )
        if HALF.get():
            self._put({**container, "gone": time.time() + REMOVAL_TAKES})
        else:
            self.store.delete("container", container["id"])
        return Response(status_code=204)

    async def _list_volumes(self, request: Request) -> Response:
        filters = parse_filters(request.query_params.get("filters"), frozenset({"label", "name"}))
        shown = [each for each in self.store.all("volume") if has_labels(each["Labels"], filters.get("label", []))]
        return JSONResponse({"Volumes": shown, "Warnings": None})

    async def _create_volume(self, request: Request) -> Response:
        body = parse_json(await request.body(), request.headers.get("content-type", ""))
        name = body.get("Name") or digest("volume", str(time.time_ns()))
        known = self.store.get("volume", name)
        made: dict[str, Any] = {"Name": name, "Driver": "local", "Mountpoint": f"/var/lib/docker/volumes/{name}/_data"}
        made |= {"Labels": body.get("Labels") or {}, "Scope": "local", "Options": None}
        return JSONResponse(known or self.store.put("volume", name, made), status_code=201)

    async def _inspect_volume(self, request: Request) -> Response:
        return JSONResponse(self._volume(request))

    async def _remove_volume(self, request: Request) -> Response:
        name = self._volume(request)["Name"]
        for each in self._containers():
            if any(bind.partition(":")[0] == name for bind in each["host_config"]["Binds"] or []):
                raise Refused(409, f"remove {name}: volume is in use - [{each['id']}]")
        self.store.delete("volume", name)
        return Response(status_code=204)

    def _volume(self, request: Request) -> Document:
        name = request.path_params["name"]
        volume = self.store.get("volume", name)
        if volume is None:
            raise Refused(404, f"get {name}: no such volume")
        return volume


def _version_problem(version: str) -> str | None:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split("."))

    if number(version) > number(API_VERSION):
        return f"client version {version} is too new. Maximum supported API version is {API_VERSION}"
    if number(version) < number(OLDEST_API_VERSION):
        wanted = f"Minimum supported API version is {OLDEST_API_VERSION}, please upgrade your client to a newer version"
        return f"client version {version} is too old. {wanted}"
    return None
