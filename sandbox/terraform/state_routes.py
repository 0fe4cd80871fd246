"""The routes of state versions."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.store import Document, Store
from sandbox.terraform import forms
from sandbox.terraform.body import attributes
from sandbox.terraform.driver import Driver
from sandbox.terraform.forms import Refusal, answer, invalid, not_found


class StateRoutes:
    """Reading states, and writing them as `terraform state rm` does; `found` gives the workspace in a path."""

    def __init__(self, store: Store, driver: Driver, organization: str, found: Callable[[Request], Document]) -> None:
        self._store = store
        self._driver = driver
        self._organization = organization
        self._workspace = found

    def routes(self) -> Sequence[Route]:
        """The routes."""
        workspace, version = "/api/v2/workspaces/{id}", "/api/v2/state-versions/{version}"
        return [
            Route(f"{workspace}/state-versions", self._create, methods=["POST"]),
            Route(f"{workspace}/current-state-version", self._current, methods=["GET"]),
            Route(f"{workspace}/current-state-version-outputs", self._current_outputs, methods=["GET"]),
            Route(f"{workspace}/resources", self._resources, methods=["GET"]),
            Route("/api/v2/state-versions", self._list, methods=["GET"]),
            Route(version, self._read, methods=["GET"]),
            Route(f"{version}/outputs", self._outputs, methods=["GET"]),
            Route("/api/state-versions/{version}/hosted_state", self._content, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        workspace = self._workspace(request)
        if workspace["locked_by"] is None:
            raise Refusal(409, "conflict", "Workspace must be locked to create a state version")
        given = await attributes(request, "state-versions")
        state = _decoded(given.get("state"))
        before = self._driver.state(workspace["id"])
        if before is not None and given.get("serial", 0) <= before["serial"]:
            raise invalid("Serial must be above the current state version's", "serial")
        version = self._driver.add_state(workspace, state, None)
        return answer(forms.state_version(version, _base(request)), 201)

    async def _current(self, request: Request) -> Response:
        return answer(forms.state_version(self._newest(request), _base(request)))

    async def _current_outputs(self, request: Request) -> Response:
        return forms.page(request, forms.outputs(self._newest(request)))

    async def _resources(self, request: Request) -> Response:
        state = self._driver.state(self._workspace(request)["id"])
        return forms.page(request, [] if state is None else forms.resources(state))

    async def _list(self, request: Request) -> Response:
        organization = request.query_params.get("filter[organization][name]")
        name = request.query_params.get("filter[workspace][name]")
        if organization is None or name is None:
            raise Refusal(400, "bad request", "filter[organization][name] and filter[workspace][name] are required")
        known = [w["name"] for w in self._store.all("workspace")]
        if organization != self._organization or name not in known:
            raise not_found()
        versions = [s for s in reversed(self._store.all("state")) if s["workspace_name"] == name]
        return forms.page(request, [forms.state_version(version, _base(request)) for version in versions])

    async def _read(self, request: Request) -> Response:
        return answer(forms.state_version(self._version(request), _base(request)))

    async def _outputs(self, request: Request) -> Response:
        return forms.page(request, forms.outputs(self._version(request)))

    async def _content(self, request: Request) -> Response:
        return Response(self._version(request)["content"], media_type="application/json")

    def _newest(self, request: Request) -> Document:
        state = self._driver.state(self._workspace(request)["id"])
        if state is None:
            raise not_found()
        return state

    def _version(self, request: Request) -> Document:
        version = self._store.get("state", request.path_params["version"])
        if version is None:
            raise not_found()
        return version


def _decoded(state: Any) -> Document:
    try:
        found = json.loads(base64.b64decode(str(state), validate=True))
    except (binascii.Error, ValueError):
        raise invalid("State is not a state file in base64", "state") from None
    if not isinstance(found, dict) or found.get("version") != 4:
        raise invalid("State is not of format version 4", "state")
    return found


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
