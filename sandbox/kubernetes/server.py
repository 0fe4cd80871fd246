"""The stand-in: the API server's paths, each answered as the real one answers it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from sandbox.kubernetes import access, merging, requests, resources, tables
from sandbox.kubernetes.access import User
from sandbox.kubernetes.cluster import NAMESPACES, Cluster
from sandbox.kubernetes.requests import Target
from sandbox.kubernetes.rollout import Timing
from sandbox.kubernetes.statuses import Json, Refused, bad_request, not_found, status
from sandbox.kubernetes.watching import LONGEST, Watch
from sandbox.standin import Seen, StandIn
from sandbox.store import Store
from tenant_pipelines.domain.call import Mark

_OPEN = frozenset({"healthz", "livez", "readyz", "version"})
"""What anybody may ask (ClusterRole system:public-info-viewer)."""

_WORDS = {429: "Too many requests, please try again later.", 500: "Internal error occurred"}


class KubernetesStandIn(StandIn):
    """A Kubernetes API server, as far as the product and an operator's kubectl go.

    Args:
        store: what it remembers.
        users: who has which token.
        timing: how long rollouts and deletions take.
        clock: seconds since the epoch.
    """

    name = "kubernetes"

    def __init__(
        self,
        store: Store | None = None,
        *,
        users: Mapping[str, User],
        timing: Timing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store)
        self._users = users
        self.cluster = Cluster(self.store, timing or Timing(), clock)

    def routes(self) -> Sequence[BaseRoute]:
        """One route: the paths are regular, and strangers are sent away before any path is looked at."""
        return [Route("/{path:path}", _Endpoint(self))]

    def error(self, status: int, message: str) -> Response:
        """A Status."""
        return _status_response(status, _WORDS.get(status, message))

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Namespaces and all that is in them, except pods: they come and go with their deployments."""
        self.cluster.settle()
        found: list[tuple[Seen, str]] = []
        for resource, body in self.cluster.records():
            meta = body["metadata"]
            labels = meta.get("labels") or {}
            name = f"{meta['namespace']}/{meta['name']}" if resource.namespaced else meta["name"]
            ours = labels.get("managedBy") == Mark.MANAGED_BY
            found.append((Seen(resource.kind.lower(), meta["uid"], name, ours), f"{name} {json.dumps(labels)}"))
        return found

    async def answer(self, request: Request) -> Response | Watch:
        """The answer to one request."""
        self.cluster.settle()
        parts = [part for part in request.path_params["path"].split("/") if part]
        try:
            if len(parts) == 1 and parts[0] in _OPEN:
                return _public(parts[0])
            user = access.authenticated(self._users, request.headers.get("authorization"))
            return await self._authenticated(request, user, parts)
        except Refused as refused:
            return refused.response()

    async def _authenticated(self, request: Request, user: User, parts: list[str]) -> Response | Watch:
        match parts:
            case ["api", "v1", _, *_]:
                return await self._on(request, user, requests.target(request, "", parts[2:]))
            case ["apis", resources.AUTHORIZATION, "v1", resources.REVIEWS.plural] if request.method == "POST":
                review = await requests.body(request, resources.REVIEWS)
                return JSONResponse(access.access_review(user, review), status_code=201)
            case ["apis", group, "v1", _, *_] if group in resources.GROUPS:
                return await self._on(request, user, requests.target(request, group, parts[3:]))
            case _:
                served = resources.discovery(parts, request.url.netloc)
                return _no_page() if served is None else JSONResponse(served)

    async def _on(self, request: Request, user: User, target: Target) -> Response | Watch:
        access.authorize(user, target.verb, target.resource, target.namespace, target.name)
        looks: Mapping[str, Callable[[Request, Target], Response | Watch]]
        looks = {"get": self._get, "list": self._list, "watch": self._watch}
        if target.verb in looks:
            return looks[target.verb](request, target)
        if target.verb == "patch":
            return await self._patch(request, user, target)
        writes = {"create": self._create, "update": self._update, "delete": self._delete}
        return await writes[target.verb](request, target)

    def _get(self, request: Request, target: Target) -> Response:
        found = self.cluster.read(target.resource, target.namespace, target.name)
        if found is None:
            raise not_found(target.resource.about(target.name))
        if tables.wanted(request.headers.get("accept", "")):
            version = found["metadata"]["resourceVersion"]
            return JSONResponse(tables.table(target.resource, [found], version, self.cluster.clock()))
        return JSONResponse(found)

    def _list(self, request: Request, target: Target) -> Response:
        chosen = requests.selected(request)
        found = [body for body in self.cluster.every(target.resource, target.namespace) if chosen(body)]
        items, rest = requests.page(request, found)
        version = str(self.cluster.version)
        if tables.wanted(request.headers.get("accept", "")):
            return JSONResponse(tables.table(target.resource, items, version, self.cluster.clock()))
        bare = [{key: value for key, value in item.items() if key not in {"kind", "apiVersion"}} for item in items]
        return JSONResponse(
            {
                "kind": f"{target.resource.kind}List",
                "apiVersion": target.resource.group_version,
                "metadata": {"resourceVersion": version} | rest,
                "items": bare,
            }
        )

    def _watch(self, request: Request, target: Target) -> Watch:
        query = request.query_params
        since, seconds = query.get("resourceVersion") or "0", query.get("timeoutSeconds") or "0"
        if not since.isdigit():
            raise bad_request(f'invalid resource version "{since}"')
        return Watch(
            self.cluster,
            target.resource,
            target.namespace,
            requests.selected(request),
            int(since),
            min(LONGEST, float(seconds) if seconds.isdigit() and int(seconds) else LONGEST),
            query.get("allowWatchBookmarks", "").lower() in {"1", "true"},
        )

    async def _create(self, request: Request, target: Target) -> Response:
        options = requests.options(request, "CreateOptions")
        body = await requests.body(request, target.resource)
        requests.same_place(body, target)
        warnings = requests.known_fields(body, target.resource, options.validation)
        made = self.cluster.create(target.resource, target.namespace, body, options.manager, dry_run=options.dry_run)
        return _written(_without_version(made) if options.dry_run else made, 201, warnings)

    async def _update(self, request: Request, target: Target) -> Response:
        options = requests.options(request, "UpdateOptions")
        body = await requests.body(request, target.resource)
        requests.same_place(body, target)
        warnings = requests.known_fields(body, target.resource, options.validation)
        kinds = {"kind": target.resource.kind, "apiVersion": target.resource.group_version}
        return self._changed(target, lambda _: kinds | body, options, warnings)

    async def _patch(self, request: Request, user: User, target: Target) -> Response:
        options = requests.options(request, "PatchOptions")
        media, patch = await requests.patch(request, target.resource)
        if media == requests.APPLY and isinstance(patch, dict):
            return self._apply(user, target, patch, options)

        def edit(live: Json) -> Json:
            if isinstance(patch, list):
                return merging.json_patch(live, patch)
            return merging.merge_patch(live, patch, strategic=media == requests.STRATEGIC)

        return self._changed(target, edit, options, [])

    def _apply(self, user: User, target: Target, body: Json, options: requests.Options) -> Response:
        requests.same_place(body, target)
        warnings = requests.known_fields(body, target.resource, options.validation)
        if self.cluster.read(target.resource, target.namespace, target.name) is None:
            access.authorize(user, "create", target.resource, target.namespace, target.name)
        made, new = self.cluster.apply(
            target.resource, target.namespace, body, options.manager, force=options.force, dry_run=options.dry_run
        )
        return _written(made, 201 if new else 200, warnings)

    def _changed(
        self, target: Target, edit: Callable[[Json], Json], options: requests.Options, warnings: Sequence[str]
    ) -> Response:
        changed = self.cluster.change(
            target.resource, target.namespace, target.name, edit, options.manager, dry_run=options.dry_run
        )
        return _written(changed, 200, warnings)

    async def _delete(self, request: Request, target: Target) -> Response:
        options = await requests.delete_options(request)
        dry_run = bool(request.query_params.getlist("dryRun") or options.get("dryRun"))
        resource = target.resource
        last = self.cluster.delete(resource, target.namespace, target.name, options, dry_run=dry_run)
        if resource is NAMESPACES or last["metadata"].get("finalizers") or resource.kind == "Pod":
            return JSONResponse(last)
        details = resource.about(target.name).as_json() | {"uid": last["metadata"]["uid"]}
        done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return JSONResponse(done)


class _Endpoint:
    """Takes every method, which a function as an endpoint would not."""

    def __init__(self, standin: KubernetesStandIn) -> None:
        self._standin = standin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._standin.answer(Request(scope, receive))
        await answer(scope, receive, send)


def _public(what: str) -> Response:
    return JSONResponse(resources.VERSION) if what == "version" else PlainTextResponse("ok")


def _no_page() -> Response:
    return PlainTextResponse("404 page not found\n", status_code=404)


def _status_response(code: int, message: str) -> Response:
    return JSONResponse(status(code, message), status_code=code)


def _written(body: Json, code: int, warnings: Sequence[str]) -> Response:
    response = JSONResponse(body, status_code=code)
    for warning in warnings:
        response.headers.append("Warning", f'299 - "{warning.replace(chr(34), chr(92) + chr(34))}"')
    return response


def _without_version(body: Json) -> Json:
    """A dry run has stored nothing, so there is no version to tell."""
    return body | {"metadata": {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}}
