"""The routes of configuration versions, runs, plans, applies, and of the signed URLs of uploads and logs."""

import base64
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sandbox.standin import HALF
from sandbox.store import Document, Store
from sandbox.terraform import forms
from sandbox.terraform.body import attributes, relation
from sandbox.terraform.driver import FINAL, Driver, now
from sandbox.terraform.forms import answer, conflict, invalid, not_found
from sandbox.terraform.ids import new_id, new_secret
from sandbox.terraform.work import BadArchive, unpacked

HELD = ContextVar("held", default=False)
"""True while a run is created that is to stay pending for long."""

HELD_FOR = 600.0
"""Seconds such a run stays pending."""


class RunRoutes:
    """Everything about runs; `found` gives the workspace in a path."""

    def __init__(self, store: Store, driver: Driver, found: Callable[[Request], Document]) -> None:
        self._store = store
        self._driver = driver
        self._workspace = found

    def routes(self) -> Sequence[Route]:
        """The routes."""
        run = "/api/v2/runs/{run}"
        return [
            Route("/api/v2/workspaces/{id}/configuration-versions", self._create_configuration, methods=["POST"]),
            Route("/api/v2/configuration-versions/{version}", self._configuration, methods=["GET"]),
            Route("/v1/object/{secret}", self._upload, methods=["PUT"]),
            Route("/v1/object/{secret}", self._log, methods=["GET"]),
            Route("/api/v2/workspaces/{id}/runs", self._list, methods=["GET"]),
            Route("/api/v2/runs", self._create, methods=["POST"]),
            Route(run, self._read, methods=["GET"]),
            Route(f"{run}/actions/apply", self._confirm, methods=["POST"]),
            Route(f"{run}/actions/discard", self._discard, methods=["POST"]),
            Route(f"{run}/actions/cancel", self._cancel, methods=["POST"]),
            Route(f"{run}/actions/force-cancel", self._force_cancel, methods=["POST"]),
            Route(f"{run}/plan", self._plan, methods=["GET"]),
            Route(f"{run}/apply", self._apply, methods=["GET"]),
            Route("/api/v2/plans/{plan}", self._plan, methods=["GET"]),
            Route("/api/v2/applies/{apply}", self._apply, methods=["GET"]),
        ]

    async def _create_configuration(self, request: Request) -> Response:
        workspace = self._workspace(request)
        given = await attributes(request, "configuration-versions")
        version = {
            "id": new_id(self._store, "cv"),
            "workspace": workspace["id"],
            "workspace_name": workspace["name"],
            "status": "pending",
            "error": None,
            "error_message": None,
            "auto_queue_runs": bool(given.get("auto-queue-runs", True)),
            "speculative": bool(given.get("speculative", False)),
            "upload": new_secret(),
        }
        self._store.put("configuration", version["id"], version)
        self._store.put("upload", version["upload"], {"version": version["id"], "workspace_name": workspace["name"]})
        return answer(forms.configuration(version, _base(request)), 201)

    async def _configuration(self, request: Request) -> Response:
        version = self._store.get("configuration", request.path_params["version"])
        if version is None:
            raise not_found()
        return answer(forms.configuration(version, _base(request)))

    async def _upload(self, request: Request) -> Response:
        upload = self._store.get("upload", request.path_params["secret"])
        version = self._store.get("configuration", upload["version"]) if upload is not None else None
        if version is None or version["status"] != "pending":
            raise not_found()
        content = await request.body()
        try:
            unpacked(content)
        except BadArchive as error:
            version |= {"status": "errored", "error": "invalid-archive", "error_message": str(error)}
        else:
            version |= {"status": "uploaded", "content": base64.b64encode(content).decode()}
        self._store.put("configuration", version["id"], version)
        if version["auto_queue_runs"] and version["status"] == "uploaded":
            self._queue(version["workspace"], {"message": "Queued by an upload"}, version)
        return Response(status_code=200)

    async def _log(self, request: Request) -> Response:
        log = self._store.get("log", request.path_params["secret"])
        if log is None:
            raise not_found()
        return PlainTextResponse(log["text"])

    async def _list(self, request: Request) -> Response:
        runs = self._driver.runs(self._workspace(request)["id"])
        return forms.page(request, [self._shown(run) for run in reversed(runs)])

    async def _create(self, request: Request) -> Response:
        given = await attributes(request, "runs")
        workspace = self._store.get("workspace", ((await relation(request, "workspace")) or {}).get("id", ""))
        if workspace is None:
            raise not_found()
        version = self._usable(workspace, await relation(request, "configuration-version"))
        if given.get("is-destroy") and not workspace["allow_destroy_plan"]:
            raise invalid("Destroy plans are not allowed in this workspace", "is-destroy")
        return answer(self._shown(self._queue(workspace["id"], given, version)), 201)

    def _usable(self, workspace: Document, named: Document | None) -> Document:
        versions = [v for v in self._store.all("configuration") if v["workspace"] == workspace["id"]]
        wanted = [v for v in versions if named is None or v["id"] == named.get("id")]
        usable = [v for v in wanted if v["status"] == "uploaded" and not v["speculative"]]
        if not usable:
            raise invalid("Configuration version is missing or not uploaded", "configuration-version")
        return usable[-1]

    def _queue(self, workspace_id: str, given: Document, version: Document) -> Document:
        workspace = self._store.get("workspace", workspace_id) or {}
        run = {
            "id": new_id(self._store, "run"),
            "workspace": workspace_id,
            "workspace_name": workspace["name"],
            "configuration": version["id"],
            "plan": new_id(self._store, "plan"),
            "apply": new_id(self._store, "apply"),
            "plan_log": new_secret(),
            "apply_log": None,
            "status": "pending",
            "timestamps": {"plan-queueable-at": now()},
            "created": now(),
            "message": str(given.get("message") or "Triggered via API"),
            "is_destroy": bool(given.get("is-destroy")),
            "auto_apply": bool(given.get("auto-apply", workspace["auto_apply"])),
            "terraform_version": workspace["terraform_version"],
            "held_until": time.time() + HELD_FOR if HELD.get() else 0.0,
        }
        self._store.put("run", run["id"], run)
        for kind in ("plan", "apply"):
            self._store.put(kind, run[kind], {"run": run["id"], "workspace_name": workspace["name"]})
        self._driver.kick(workspace_id)
        return run

    async def _read(self, request: Request) -> Response:
        run = self._found(request)
        return answer(self._shown(run))

    async def _confirm(self, request: Request) -> Response:
        run = self._allowed(request, "is-confirmable")
        run["half"] = HALF.get()
        self._driver.move(run, "confirmed")
        return self._accepted(run)

    async def _discard(self, request: Request) -> Response:
        run = self._allowed(request, "is-discardable")
        self._driver.move(run, "discarded")
        return self._accepted(run)

    async def _cancel(self, request: Request) -> Response:
        run = self._allowed(request, "is-cancelable")
        run["cancel_asked"] = True
        if HALF.get():
            run["held_until"] = time.time() + HELD_FOR
            self._store.put("run", run["id"], run)
        elif run["status"] == "pending" or run["held_until"] > time.time():
            self._driver.move(run, "canceled")
        else:
            self._store.put("run", run["id"], run)
        return self._accepted(run)

    async def _force_cancel(self, request: Request) -> Response:
        run = self._allowed(request, "is-force-cancelable")
        self._driver.move(run, "force_canceled")
        return self._accepted(run)

    async def _plan(self, request: Request) -> Response:
        return answer(forms.plan(self._found(request), _base(request)))

    async def _apply(self, request: Request) -> Response:
        return answer(forms.applied(self._found(request), _base(request)))

    def _found(self, request: Request) -> Document:
        """The run in the path, by its own id or by that of its plan or apply."""
        run_id = request.path_params.get("run", "")
        for kind in ("plan", "apply"):
            if kind in request.path_params:
                run_id = (self._store.get(kind, request.path_params[kind]) or {}).get("run", "")
        run = self._store.get("run", run_id)
        if run is None:
            raise not_found()
        self._driver.kick(run["workspace"])
        return run

    def _allowed(self, request: Request, action: str) -> Document:
        run = self._found(request)
        if not forms.actions(run)[action]:
            raise conflict(f"Run is {run['status']}: {request.url.path.rsplit('/', 1)[-1]} not allowed")
        return run

    def _accepted(self, run: Document) -> Response:
        self._driver.kick(run["workspace"])
        return Response(status_code=202)

    def _shown(self, run: Document) -> Document:
        before = [r for r in self._driver.runs(run["workspace"]) if r["status"] not in FINAL]
        return forms.run(run, before.index(run) if run in before else 0)


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
