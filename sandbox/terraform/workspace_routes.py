"""The routes of workspaces: their settings, tags, variables, lock and end."""

import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.store import Document, Store
from sandbox.terraform import forms
from sandbox.terraform.body import attributes, relation
from sandbox.terraform.driver import Driver, now
from sandbox.terraform.forms import Refusal, answer, conflict, invalid, not_found
from sandbox.terraform.ids import new_id

_NAME = re.compile(r"[A-Za-z0-9_-]{1,90}")
_TAG_KEY = re.compile(r"(?!hc:|hcp:)[A-Za-z0-9]([A-Za-z0-9:_-]{0,126}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z0-9_-]+")
_SETTINGS = {
    "description": (str, None),
    "auto-apply": (bool, False),
    "execution-mode": (str, "remote"),
    "allow-destroy-plan": (bool, True),
    "queue-all-runs": (bool, False),
    "terraform-version": (str, "1.11.4"),
}
_PEOPLE = {"id": "user-TenantPipelinesB", "type": "users"}
"""Who holds the token of the stand-in."""


class WorkspaceRoutes:
    """Everything below `/organizations/*/workspaces` and `/workspaces/*` that is not about runs or states."""

    def __init__(self, store: Store, driver: Driver, organization: str) -> None:
        self._store = store
        self._driver = driver
        self._organization = organization

    def routes(self) -> Sequence[Route]:
        """The routes."""
        many = "/api/v2/organizations/{organization}/workspaces"
        by_name, by_id = many + "/{name}", "/api/v2/workspaces/{id}"
        return [
            Route("/api/v2/organizations/{organization}", self._organization_, methods=["GET"]),
            Route(many, self._list, methods=["GET"]),
            Route(many, self._create, methods=["POST"]),
            *(Route(path, self._read, methods=["GET"]) for path in (by_name, by_id)),
            *(Route(path, self._update, methods=["PATCH"]) for path in (by_name, by_id)),
            *(Route(path, self._delete, methods=["DELETE"]) for path in (by_name, by_id)),
            *(Route(f"{path}/actions/safe-delete", self._safe_delete, methods=["POST"]) for path in (by_name, by_id)),
            Route(f"{by_id}/actions/lock", self._lock, methods=["POST"]),
            Route(f"{by_id}/actions/unlock", self._unlock, methods=["POST"]),
            Route(f"{by_id}/actions/force-unlock", self._force_unlock, methods=["POST"]),
            Route(f"{by_id}/tag-bindings", self._tags, methods=["GET"]),
            Route(f"{by_id}/tag-bindings", self._add_tags, methods=["PATCH"]),
            Route(f"{by_id}/vars", self._variables, methods=["GET"]),
            Route(f"{by_id}/vars", self._create_variable, methods=["POST"]),
            Route(f"{by_id}/vars/{{var}}", self._update_variable, methods=["PATCH"]),
            Route(f"{by_id}/vars/{{var}}", self._delete_variable, methods=["DELETE"]),
        ]

    def found(self, request: Request) -> Document:
        """The workspace in the path, by id or by organization and name."""
        if "id" in request.path_params:
            workspace = self._store.get("workspace", request.path_params["id"])
        else:
            self._in_organization(request)
            workspace = self._named(request.path_params["name"])
        if workspace is None:
            raise not_found()
        self._driver.kick(workspace["id"])
        return workspace

    def shown(self, workspace: Document) -> Document:
        """The workspace as it is answered."""
        active, state = self._driver.active(workspace["id"]), self._driver.state(workspace["id"])
        return forms.workspace(workspace, self._organization, active, state)

    def _named(self, name: str) -> Document | None:
        return next((w for w in self._store.all("workspace") if w["name"] == name), None)

    def _in_organization(self, request: Request) -> None:
        if request.path_params["organization"] != self._organization:
            raise not_found()

    async def _organization_(self, request: Request) -> Response:
        self._in_organization(request)
        return answer({"id": self._organization, "type": "organizations", "attributes": {"name": self._organization}})

    async def _list(self, request: Request) -> Response:
        self._in_organization(request)
        part = request.query_params.get("search[name]", "")
        wanted = [w for w in self._store.all("workspace") if part in w["name"] and _tagged(request, w)]
        return forms.page(request, [self.shown(w) for w in sorted(wanted, key=lambda w: str(w["name"]))])

    async def _create(self, request: Request) -> Response:
        self._in_organization(request)
        given = await attributes(request, "workspaces")
        workspace: Document = {"tags": _tag_values(await relation(request, "tag-bindings")), "locked_by": None}
        workspace |= {"locked_reason": "", "created": now(), "updated": now()}
        self._set(workspace, {"name": ""} | {name: default for name, (_, default) in _SETTINGS.items()} | given)
        workspace["id"] = new_id(self._store, "ws")
        self._store.put("workspace", workspace["id"], workspace)
        return answer(self.shown(workspace), 201)

    async def _read(self, request: Request) -> Response:
        return answer(self.shown(self.found(request)))

    async def _update(self, request: Request) -> Response:
        workspace = self.found(request)
        self._set(workspace, await attributes(request, "workspaces"))
        tags = await relation(request, "tag-bindings")
        if tags is not None:
            workspace["tags"] = _tag_values(tags)
        self._store.put("workspace", workspace["id"], workspace)
        return answer(self.shown(workspace))

    def _set(self, workspace: Document, given: Document) -> None:
        name = given.get("name", workspace.get("name"))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid("Name can only include letters, numbers, -, and _.", "name")
        taken = self._named(name)
        if taken is not None and taken is not workspace:
            raise invalid("Name has already been taken", "name")
        for attribute, (kind, _) in _SETTINGS.items():
            value = given.get(attribute, workspace.get(attribute.replace("-", "_")))
            if value is not None and not isinstance(value, kind):
                raise invalid(f"{attribute} is invalid", attribute)
            workspace[attribute.replace("-", "_")] = value
        if workspace["execution_mode"] not in {"remote", "local", "agent"}:
            raise invalid("Execution mode is invalid", "execution-mode")
        workspace["name"] = name
        workspace["updated"] = now()

    async def _delete(self, request: Request) -> Response:
        workspace = self.found(request)
        active = self._driver.active(workspace["id"])
        if active is not None and active["status"] in {"planning", "applying"}:
            raise conflict("Workspace is currently locked by a run")
        for kind in ("var", "configuration", "run", "state"):
            for entry in self._store.all(kind):
                if entry["workspace"] == workspace["id"]:
                    self._store.delete(kind, entry["id"])
        self._store.delete("workspace", workspace["id"])
        return Response(status_code=204)

    async def _safe_delete(self, request: Request) -> Response:
        workspace = self.found(request)
        if self.shown(workspace)["attributes"]["locked"]:
            raise conflict("Workspace cannot be deleted: it is locked")
        if self.shown(workspace)["attributes"]["resource-count"]:
            raise conflict("Workspace cannot be deleted: it has resources under management")
        return await self._delete(request)

    async def _lock(self, request: Request) -> Response:
        workspace = self.found(request)
        if self.shown(workspace)["attributes"]["locked"]:
            raise Refusal(409, "conflict", "Unable to lock workspace. The workspace is already locked.")
        body = await request.json() if await request.body() else {}
        workspace |= {"locked_by": _PEOPLE, "locked_reason": str(body.get("reason") or "")}
        self._store.put("workspace", workspace["id"], workspace)
        return answer(self.shown(workspace))

    async def _unlock(self, request: Request) -> Response:
        workspace = self.found(request)
        if workspace["locked_by"] is None:
            raise Refusal(409, "conflict", "Unable to unlock workspace. The workspace is already unlocked.")
        if workspace["locked_by"] != _PEOPLE:
            raise Refusal(409, "conflict", "Unable to unlock workspace. The workspace is locked by somebody else.")
        return self._unlocked(workspace)

    async def _force_unlock(self, request: Request) -> Response:
        workspace = self.found(request)
        if workspace["locked_by"] is None:
            raise Refusal(409, "conflict", "Unable to unlock workspace. The workspace is already unlocked.")
        return self._unlocked(workspace)

    def _unlocked(self, workspace: Document) -> Response:
        workspace |= {"locked_by": None, "locked_reason": ""}
        self._store.put("workspace", workspace["id"], workspace)
        self._driver.kick(workspace["id"])
        return answer(self.shown(workspace))

    async def _tags(self, request: Request) -> Response:
        return answer(_bindings(self.found(request)))

    async def _add_tags(self, request: Request) -> Response:
        workspace = self.found(request)
        body = await request.json()
        workspace["tags"] = workspace["tags"] | _tag_values(body.get("data"))
        self._store.put("workspace", workspace["id"], workspace)
        return answer(_bindings(workspace))

    async def _variables(self, request: Request) -> Response:
        return answer([forms.variable(v) for v in self._variables_of(self.found(request))])

    def _variables_of(self, workspace: Document) -> list[Document]:
        return [v for v in self._store.all("var") if v["workspace"] == workspace["id"]]

    async def _create_variable(self, request: Request) -> Response:
        workspace = self.found(request)
        given = await attributes(request, "vars")
        variable: Document = {"id": "", "key": "", "value": "", "description": None, "category": "", "hcl": False}
        variable |= {"sensitive": False, "workspace": workspace["id"], "workspace_name": workspace["name"]}
        variable |= {"created": now()}
        self._set_variable(variable, given, workspace)
        variable["id"] = new_id(self._store, "var")
        self._store.put("var", variable["id"], variable)
        return answer(forms.variable(variable), 201)

    async def _update_variable(self, request: Request) -> Response:
        workspace = self.found(request)
        variable = self._variable(request, workspace)
        self._set_variable(variable, await attributes(request, "vars"), workspace)
        self._store.put("var", variable["id"], variable)
        return answer(forms.variable(variable))

    async def _delete_variable(self, request: Request) -> Response:
        variable = self._variable(request, self.found(request))
        self._store.delete("var", variable["id"])
        return Response(status_code=204)

    def _variable(self, request: Request, workspace: Document) -> Document:
        variable = self._store.get("var", request.path_params["var"])
        if variable is None or variable["workspace"] != workspace["id"]:
            raise not_found()
        return variable

    def _set_variable(self, variable: Document, given: Document, workspace: Document) -> None:
        known = ("key", "value", "description", "category", "hcl", "sensitive")
        wanted = variable | {name: given[name] for name in known if name in given}
        if not isinstance(wanted["key"], str) or not _VARIABLE.fullmatch(wanted["key"]):
            raise invalid("Key can only contain alphanumeric characters, underscores, and hyphens", "key")
        if wanted["category"] not in {"terraform", "env"}:
            raise invalid("Category is not included in the list", "category")
        place = (wanted["key"], wanted["category"])
        for other in self._variables_of(workspace):
            if other["id"] != variable["id"] and (other["key"], other["category"]) == place:
                raise invalid("Key has already been taken", "key")
        variable |= wanted
        variable["version"] = new_id(self._store, "varver")


def _tagged(request: Request, workspace: Document) -> bool:
    for name, key in request.query_params.items():
        found = re.fullmatch(r"filter\[tagged\]\[(\d+)\]\[key\]", name)
        if found is not None:
            value = request.query_params.get(f"filter[tagged][{found[1]}][value]")
            if key not in workspace["tags"] or (value is not None and workspace["tags"][key] != value):
                return False
    return True


def _tag_values(bindings: Any) -> dict[str, str]:
    values: dict[str, str] = {}
    for binding in bindings or []:
        given = binding.get("attributes") or {}
        key, value = given.get("key"), given.get("value") or ""
        if not isinstance(key, str) or not _TAG_KEY.fullmatch(key):
            raise invalid("Tag key is invalid", "key")
        if not isinstance(value, str) or len(value) > 256:
            raise invalid("Tag value is invalid", "value")
        values[key] = value
    return values


def _bindings(workspace: Document) -> list[Document]:
    return [
        {"id": f"tb-{workspace['id'][3:]}{index}", "type": "tag-bindings", "attributes": {"key": key, "value": value}}
        for index, (key, value) in enumerate(workspace["tags"].items())
    ]
