"""Realm roles, and which of them a user has."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.keycloak.access import Access, handled
from sandbox.keycloak.answers import done, plain, read_json, shown
from sandbox.keycloak.settings import Realm
from sandbox.keycloak.users import Users
from sandbox.store import Store


class Roles:
    """The endpoints of roles."""

    def __init__(self, store: Store, access: Access, users: Users) -> None:
        self._store = store
        self._access = access
        self._users = users

    def routes(self) -> list[Route]:
        """The routes, below the base path."""
        mapped = "/admin/realms/{realm}/users/{id}/role-mappings/realm"
        return [
            Route("/admin/realms/{realm}/roles", handled(self._list), methods=["GET"]),
            Route("/admin/realms/{realm}/roles/{name}", handled(self._get), methods=["GET"]),
            Route(mapped, handled(self._of_user), methods=["GET"]),
            Route(mapped, handled(self._assign), methods=["POST"]),
            Route(mapped, handled(self._withdraw), methods=["DELETE"]),
            Route(mapped + "/available", handled(self._available), methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        realm, visitor = self._access.enter(request)
        visitor.must("view-realm", "manage-realm")
        return shown([_role(realm, name) for name in _names(realm)])

    async def _get(self, request: Request) -> Response:
        realm, visitor = self._access.enter(request)
        visitor.must("view-realm", "manage-realm")
        name = request.path_params["name"]
        if name not in _names(realm):
            raise plain(404, "Could not find role")
        return shown({**_role(realm, name), "attributes": {}})

    async def _of_user(self, request: Request) -> Response:
        user = self._users.one(request)
        return shown([_role(self._access.realms[user["realm"]], name) for name in reversed(user["roles"])])

    async def _available(self, request: Request) -> Response:
        user = self._users.one(request)
        realm = self._access.realms[user["realm"]]
        return shown([_role(realm, name) for name in _names(realm) if name not in user["roles"]])

    async def _assign(self, request: Request) -> Response:
        user = self._users.one(request, write=True)
        for name in await self._asked(request):
            if name not in user["roles"]:
                user["roles"].append(name)
        self._store.put("user", user["id"], user)
        return done()

    async def _withdraw(self, request: Request) -> Response:
        user = self._users.one(request, write=True)
        asked = await self._asked(request)
        user["roles"] = [name for name in user["roles"] if name not in asked]
        self._store.put("user", user["id"], user)
        return done()

    async def _asked(self, request: Request) -> list[str]:
        """The names in the body; a role is known by its id and its name together."""
        realm, _ = self._access.enter(request)
        body = await read_json(request)
        names = {(_role(realm, name)["id"], name): name for name in _names(realm)}
        asked = [(role.get("id"), role.get("name")) for role in body or []]
        if any(role not in names for role in asked):
            raise plain(404, "Role not found")
        return [names[role] for role in asked]


def _names(realm: Realm) -> list[str]:
    return ["offline_access", "uma_authorization", *realm.roles, f"default-roles-{realm.name}"]


def _role(realm: Realm, name: str) -> dict[str, Any]:
    built_in = {"offline_access": "offline-access", "uma_authorization": "uma_authorization"}
    default = name == f"default-roles-{realm.name}"
    text = "default-roles" if default else built_in.get(name)
    return {
        "id": str(uuid5(NAMESPACE_URL, f"{realm.name}/roles/{name}")),
        "name": name,
        **({"description": f"${{role_{text}}}"} if text else {}),
        "composite": default,
        "clientRole": False,
        "containerId": str(uuid5(NAMESPACE_URL, realm.name)),
    }
