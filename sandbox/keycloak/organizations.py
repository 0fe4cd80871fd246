"""Organizations and their members."""

import re
import uuid
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.keycloak.access import Access, Visitor, handled
from sandbox.keycloak.answers import crash, created, done, message, oauth, plain, read_body, read_object, shown
from sandbox.keycloak.search import has_pairs, is_true, like, page
from sandbox.keycloak.settings import Realm
from sandbox.keycloak.users import Users
from sandbox.store import Document, Store

FIELDS = frozenset(
    {"id", "name", "alias", "enabled", "description", "redirectUrl", "attributes", "domains", "members", "groups"}
)
_DOMAIN = re.compile(r"(\*\.)?(?!-)[^\W_](?:[^\W_]|-){0,62}(?<!-)(\.(?!-)[^\W_](?:[^\W_]|-){0,62}(?<!-))*")


class Organizations:
    """The endpoints below `/admin/realms/{realm}/organizations`."""

    def __init__(self, store: Store, access: Access, users: Users) -> None:
        self._store = store
        self._access = access
        self._users = users

    def routes(self) -> list[Route]:
        """The routes, below the base path."""
        top = "/admin/realms/{realm}/organizations"
        one, members = top + "/{id}", top + "/{id}/members"
        return [
            Route(top, handled(self._list), methods=["GET"]),
            Route(top, handled(self._create), methods=["POST"]),
            Route(top + "/count", handled(self._count), methods=["GET"]),
            Route(top + "/members/{user}/organizations", handled(self._of_user), methods=["GET"]),
            Route(one, handled(self._get), methods=["GET"]),
            Route(one, handled(self._update), methods=["PUT"]),
            Route(one, handled(self._delete), methods=["DELETE"]),
            Route(members, handled(self._members), methods=["GET"]),
            Route(members, handled(self._add_member), methods=["POST"]),
            Route(members + "/count", handled(self._count_members), methods=["GET"]),
            Route(members + "/{user}", handled(self._member), methods=["GET"]),
            Route(members + "/{user}", handled(self._remove_member), methods=["DELETE"]),
        ]

    def _enter(self, request: Request, *, write: bool = False) -> tuple[Realm, Visitor]:
        realm, visitor = self._access.enter(request)
        if write:
            visitor.must("manage-organizations", "manage-realm")
        if not realm.organizations:
            raise message(404, "Organizations not enabled for this realm.")
        return realm, visitor

    def _all(self, realm: Realm) -> list[Document]:
        found = (one for one in self._store.all("organization") if one["realm"] == realm.name)
        return sorted(found, key=lambda one: str(one["name"]))

    def _one(self, request: Request, *, write: bool = False) -> Document:
        realm, visitor = self._enter(request, write=write)
        if not write:
            visitor.must("manage-organizations", "view-organizations", "manage-realm", "view-realm")
        found = self._store.get("organization", request.path_params["id"])
        if found is None or found["realm"] != realm.name:
            raise message(404, "Organization not found.")
        return found

    async def _list(self, request: Request) -> Response:
        params = request.query_params
        brief = is_true(params, "briefRepresentation", default=True)
        return shown([_shown(one, brief=brief) for one in page(self._found(request), params, size=10)])

    async def _count(self, request: Request) -> Response:
        return shown(len(self._found(request)))

    def _found(self, request: Request) -> list[Document]:
        realm, visitor = self._enter(request)
        if not visitor.may_list("manage-organizations", "view-organizations", "manage-realm"):
            return []
        params = request.query_params
        search, exact = params.get("search"), is_true(params, "exact")
        found = [one for one in self._all(realm) if has_pairs(_searchable(one), params.get("q"))]
        return [one for one in found if not search or _names(one, search, exact=exact)]

    async def _create(self, request: Request) -> Response:
        realm, _ = self._enter(request, write=True)
        body = await read_object(request, "OrganizationRepresentation", FIELDS)
        if body is None:
            raise message(400, "Organization cannot be null.")
        name, alias = body.get("name"), body.get("alias")
        if not name:
            raise message(400, "Name can not be null")
        if not alias and re.search(r"\s", name):
            raise message(400, "Name cannot be used as alias: Empty Space not allowed.")
        if alias and re.search(r"\s", alias):
            raise plain(400, "Empty Space not allowed.")
        key = str(uuid.uuid4())
        new = {"realm": realm.name, "id": key, "alias": alias or name, "attributes": {}}
        self._store.put("organization", key, self._changed(realm, new, body))
        return created(request, key)

    async def _get(self, request: Request) -> Response:
        return shown(_shown(self._one(request), brief=False))

    async def _update(self, request: Request) -> Response:
        organization = self._one(request, write=True)
        realm = self._access.realms[organization["realm"]]
        body = await read_object(request, "OrganizationRepresentation", FIELDS)
        if body is None:
            raise crash()
        if body.get("alias") != organization["alias"]:
            raise message(400, "Cannot change the alias")
        if not body.get("name"):
            raise message(409, "A organization with the same name already exists.")
        self._store.put("organization", organization["id"], self._changed(realm, organization, body))
        return done()

    async def _delete(self, request: Request) -> Response:
        organization = self._one(request, write=True)
        for member in self._memberships(organization["id"]):
            self._store.delete("member", _pair(member))
        self._store.delete("organization", organization["id"])
        return done()

    def _changed(self, realm: Realm, old: Document, body: dict[str, Any]) -> Document:
        """The organization after a PUT: what is not sent is gone, except for the attributes."""
        new = {
            "realm": realm.name,
            "id": old["id"],
            "name": body["name"],
            "alias": old["alias"],
            "enabled": body.get("enabled", True),
            **{name: body[name] for name in ("description", "redirectUrl") if body.get(name)},
            "attributes": old["attributes"] if body.get("attributes") is None else body["attributes"],
            "domains": _domains(body.get("domains") or []),
        }
        self._expect_free(realm, new, "name", "A organization with the same name already exists.")
        self._expect_free(realm, new, "alias", "A organization with the same alias already exists")
        if "redirectUrl" in new and urlsplit(new["redirectUrl"]).scheme not in ("http", "https"):
            raise message(400, "Organization redirect URL is not valid.")
        for domain in new["domains"]:
            self._expect_free_domain(realm, new, domain["name"])
        if not all(isinstance(values, list) for values in new["attributes"].values()):
            raise oauth(400, "unknown_error", "Cannot parse the JSON")
        too_long = [value for values in new["attributes"].values() for value in values if len(value) > 2048]
        if max(len(new["name"]), len(new["alias"])) > 255 or too_long:
            raise crash()
        return new

    def _expect_free(self, realm: Realm, new: Document, name: str, text: str) -> None:
        if any(one[name] == new[name] for one in self._all(realm) if one["id"] != new["id"]):
            raise message(409, text)

    def _expect_free_domain(self, realm: Realm, new: Document, domain: str) -> None:
        for other in self._all(realm):
            if other["id"] != new["id"] and any(one["name"] == domain for one in other["domains"]):
                text = f"Domain {domain} is already linked to organization {other['name']} in realm {realm.name}"
                raise message(400, text)

    def _memberships(self, key: str) -> list[Document]:
        return [one for one in self._store.all("member") if one["organization"] == key]

    async def _members(self, request: Request) -> Response:
        found = [self._users.get(one["user"]) for one in self._memberships(self._one(request)["id"])]
        brief = [self._users.brief(user) | {"membershipType": "UNMANAGED"} for user in found if user is not None]
        return shown(page(brief, request.query_params, size=10))

    async def _count_members(self, request: Request) -> Response:
        return shown(len(self._memberships(self._one(request)["id"])))

    async def _add_member(self, request: Request) -> Response:
        organization = self._one(request, write=True)
        realm, visitor = self._enter(request)
        visitor.must("manage-users")
        key = (await read_body(request)).decode("utf-8", "replace").strip().strip('"')
        user = self._users.get(key)
        if user is None or user["realm"] != realm.name:
            raise plain(404)
        member = {"organization": organization["id"], "user": key}
        if self._store.get("member", _pair(member)):
            raise message(409, "User is already a member of the organization.")
        self._store.put("member", _pair(member), member)
        return created(request, key)

    def _membership(self, organization: Document, request: Request) -> Document:
        member = {"organization": organization["id"], "user": request.path_params["user"]}
        if self._store.get("member", _pair(member)) is None:
            raise plain(404)
        return member

    async def _member(self, request: Request) -> Response:
        member = self._membership(self._one(request), request)
        user = self._users.get(member["user"])
        if user is None:
            raise plain(404)
        return shown(self._users.shown(user) | {"membershipType": "UNMANAGED"})

    async def _remove_member(self, request: Request) -> Response:
        self._store.delete("member", _pair(self._membership(self._one(request, write=True), request)))
        return done()

    async def _of_user(self, request: Request) -> Response:
        _, visitor = self._enter(request)
        visitor.must("manage-organizations", "view-organizations", "manage-realm")
        key = request.path_params["user"]
        if self._users.get(key) is None:
            raise plain(404)
        mine = {one["organization"] for one in self._store.all("member") if one["user"] == key}
        found = [one for one in self._store.all("organization") if one["id"] in mine]
        return shown([_shown(one, brief=True) for one in sorted(found, key=lambda one: str(one["name"]), reverse=True)])


def _pair(member: Document) -> str:
    return f"{member['organization']}.{member['user']}"


def _shown(one: Document, *, brief: bool) -> dict[str, Any]:
    names = ["id", "name", "alias", "enabled", "description", "redirectUrl", *([] if brief else ["attributes"])]
    return {name: one[name] for name in names if name in one} | ({"domains": one["domains"]} if one["domains"] else {})


def _searchable(one: Document) -> dict[str, list[str]]:
    return {**one["attributes"], "alias": [one["alias"]]}


def _names(one: Document, search: str, *, exact: bool) -> bool:
    texts = [one["name"], *(domain["name"] for domain in one["domains"])]
    return any(text == search if exact else like(search, text) for text in texts)


def _domains(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for domain in asked:
        name = str(domain.get("name") or "").strip().lower()
        if not name:
            raise message(400, "Domain name cannot be empty")
        if name.startswith("*.") and "." not in name[2:]:
            raise message(400, f"Domain must have at least 2 parts (e.g. 'example.com'): {name[2:]}")
        if not _DOMAIN.fullmatch(name):
            raise message(400, f"Invalid domain format: {domain['name']}")
        found[name] = {"name": name, "verified": bool(domain.get("verified", False))}
    return list(found.values())
