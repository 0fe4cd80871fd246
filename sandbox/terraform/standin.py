"""The stand-in for HCP Terraform (Terraform Cloud): `/api/v2` with its strictness, and runs that really do something.

Runs are carried out by a real `terraform` or `tofu` when one is given, else by a planner of our own that knows the
tenant module of `tenant_pipelines.adapters.terraform.configuration`. Both keep their state in Terraform's own format.

Two faults go further than their names:
* `half_done` on `POST /api/v2/runs/*/actions/apply`: the apply makes (or destroys) half of the resources, then the run
  ends errored with a message about a quota in its log. On `.../actions/cancel`: the run does not end, and only a
  force-cancel helps.
* `slow` on `POST /api/v2/runs`: the run stays pending for ten minutes, unless it is discarded or cancelled.

Source: HCP Terraform API reference (Workspaces, Workspace Variables, Configuration Versions, Runs, Plans, Applies,
State Versions, Tags).
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.faults import Mode
from sandbox.standin import HALF, Seen, StandIn
from sandbox.store import Document, Store
from sandbox.terraform.binary import TerraformBinary
from sandbox.terraform.driver import Driver
from sandbox.terraform.forms import MEDIA_TYPE, Refusal, not_found
from sandbox.terraform.planner import OwnPlanner
from sandbox.terraform.run_routes import HELD, RunRoutes
from sandbox.terraform.state_routes import StateRoutes
from sandbox.terraform.workspace_routes import WorkspaceRoutes

OURS = ("managed-by", "tenant-pipelines")

_SIGNED = "/v1/object/"


class TerraformCloudStandIn(StandIn):
    """One organization of Terraform Cloud.

    Args:
        store: what it remembers.
        organization: the organization's name.
        token: the API token it accepts.
        binary: a `terraform` or `tofu` to carry out the runs, or None for the planner of our own.
        folder: where the binary works; needed with one.
    """

    name = "terraform"
    base = ""

    def __init__(
        self,
        store: Store | None = None,
        *,
        organization: str,
        token: str,
        binary: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(store)
        if binary is not None and folder is None:
            raise ValueError("a binary needs a folder to work in")
        worker = TerraformBinary(binary, folder) if binary is not None and folder is not None else OwnPlanner()
        self._token = token
        self._driver = Driver(self.store, worker)
        self._workspaces = WorkspaceRoutes(self.store, self._driver, organization)
        self._runs = RunRoutes(self.store, self._driver, self._workspaces.found)
        self._states = StateRoutes(self.store, self._driver, organization, self._workspaces.found)

    def routes(self) -> Sequence[BaseRoute]:
        """The routes of the API, and an answer in its form for every other path."""
        known = [*self._workspaces.routes(), *self._runs.routes(), *self._states.routes()]
        ways = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return [*(self._guarded(route) for route in known), Route("/{rest:path}", self._unknown, methods=ways)]

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Workspaces, and the resources that their states name."""
        found: list[tuple[Seen, str]] = []
        for workspace in self.store.all("workspace"):
            ours = workspace["tags"].get(OURS[0]) == OURS[1]
            text = json.dumps([workspace["name"], workspace["tags"]])
            found.append((Seen("workspace", workspace["id"], workspace["name"], ours), text))
            state = self._driver.state(workspace["id"])
            found += [(resource, text) for resource in _resources(state, ours=ours)]
        return found

    def error(self, status: int, message: str) -> Response:
        """An error as JSON:API words it."""
        body = {"errors": [{"status": str(status), "title": message.lower()}]}
        return Response(json.dumps(body), status, media_type=MEDIA_TYPE)

    def own_way(self, mode: Mode, operation: str) -> ContextVar[bool] | None:
        """What is half done or slow here is the run, and it is so after the call has been answered."""
        if mode is Mode.SLOW and operation == "POST /api/v2/runs":
            return HELD
        if mode is Mode.HALF_DONE and operation.endswith("/actions/apply"):
            return HALF
        return None

    def _guarded(self, route: Route) -> Route:
        """The route behind the token (signed URLs are their own permission), with refusals in the API's form."""
        inside = route.endpoint

        async def endpoint(request: Request) -> Response:
            try:
                if not request.url.path.startswith(_SIGNED):
                    self._check_token(request)
                answer: Response = await inside(request)
            except Refusal as refusal:
                return _refused(refusal)
            return answer

        return Route(route.path, endpoint, methods=list(route.methods or ()))

    def _check_token(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            raise Refusal(401, "unauthorized")

    async def _unknown(self, request: Request) -> Response:
        try:
            self._check_token(request)
        except Refusal as refusal:
            return _refused(refusal)
        return _refused(not_found())


def _refused(refusal: Refusal) -> Response:
    return Response(json.dumps({"errors": [refusal.entry]}), refusal.status, media_type=MEDIA_TYPE)


def _resources(state: Document | None, *, ours: bool) -> Sequence[Seen]:
    entries = [] if state is None else json.loads(state["content"])["resources"]
    return [
        Seen("resource", instance["attributes"].get("id", ""), _address(entry), ours)
        for entry in entries
        for instance in entry["instances"]
    ]


def _address(entry: Document) -> str:
    return ".".join(filter(None, (entry.get("module"), entry["type"], entry["name"])))
