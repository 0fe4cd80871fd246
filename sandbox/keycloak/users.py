"""Users, their realm roles, and the mails that ask them to do something."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.keycloak import passwords
from sandbox.keycloak.access import Access, handled
from sandbox.keycloak.answers import crash, created, done, field, message, plain, read_json, read_object, shown
from sandbox.keycloak.profile import described, validated
from sandbox.keycloak.search import has_pairs, is_true, like, number, page
from sandbox.keycloak.settings import Realm
from sandbox.store import Document, Store

FIELDS = frozenset(
    {
        "id",
        "username",
        "email",
        "firstName",
        "lastName",
        "emailVerified",
        "enabled",
        "attributes",
        "requiredActions",
        "credentials",
        "realmRoles",
        "clientRoles",
        "groups",
        "createdTimestamp",
        "totp",
        "disableableCredentialTypes",
        "notBefore",
        "access",
        "federationLink",
        "origin",
        "self",
        "serviceAccountClientId",
        "federatedIdentities",
        "socialLinks",
        "userProfileMetadata",
    }
)
ACTIONS = ("CONFIGURE_TOTP", "TERMS_AND_CONDITIONS", "UPDATE_PASSWORD", "UPDATE_PROFILE", "VERIFY_EMAIL")
NO_SMTP = (
    "Failed to send execute actions email: Invalid sender address 'null'. If the address contains UTF-8 characters in "
    "the local part please ensure the SMTP server supports the SMTPUTF8 extension and enable 'Allow UTF-8' in the "
    "email realm configuration."
)
_NOT_FOUND = "User not found"
_ACCESS = ("manageGroupMembership", "resetPassword", "view", "mapRoles", "impersonate", "manage")


class Users:
    """The endpoints below `/admin/realms/{realm}/users`."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def routes(self) -> list[Route]:
        """The routes, below the base path."""
        top = "/admin/realms/{realm}/users"
        one = top + "/{id}"
        return [
            Route(top, handled(self._list), methods=["GET"]),
            Route(top, handled(self._create), methods=["POST"]),
            Route(top + "/count", handled(self._count), methods=["GET"]),
            Route(top + "/profile", handled(self._profile), methods=["GET"]),
            Route(one, handled(self._get), methods=["GET"]),
            Route(one, handled(self._update), methods=["PUT"]),
            Route(one, handled(self._delete), methods=["DELETE"]),
            Route(one + "/reset-password", handled(self._reset_password), methods=["PUT"]),
            Route(one + "/execute-actions-email", handled(self._mail), methods=["PUT"]),
        ]

    def get(self, key: str) -> Document | None:
        """The user of that id."""
        return self._store.get("user", key)

    def one(self, request: Request, *, write: bool = False) -> Document:
        """The user in the path. Raises: Problem 403 or 404."""
        realm, visitor = self._access.enter(request)
        visitor.must("manage-users", *([] if write else ["view-users"]))
        found = self._store.get("user", request.path_params["id"])
        if found is None or found["realm"] != realm.name:
            raise plain(404, _NOT_FOUND)
        return found

    def brief(self, user: Document) -> dict[str, Any]:
        """As a member of an organization is listed."""
        names = ("id", "username", "firstName", "lastName", "email", "emailVerified", "enabled", "createdTimestamp")
        return {name: user[name] for name in names if user.get(name) is not None}

    def shown(self, user: Document) -> dict[str, Any]:
        """As it is shown in full, without the rights of whoever asks."""
        names = ("id", "username", "firstName", "lastName", "email", "emailVerified")
        return {
            **{name: user[name] for name in names if user.get(name) is not None},
            **({"attributes": user["attributes"]} if user["attributes"] else {}),
            "enabled": user["enabled"],
            "createdTimestamp": user["createdTimestamp"],
            "totp": False,
            "disableableCredentialTypes": [],
            "requiredActions": user["requiredActions"],
            "notBefore": 0,
        }

    def _all(self, realm: Realm) -> list[Document]:
        found = (user for user in self._store.all("user") if user["realm"] == realm.name)
        return sorted(found, key=lambda user: str(user["username"]))

    async def _profile(self, request: Request) -> Response:
        realm, visitor = self._access.enter(request)
        visitor.must(*visitor.rights)
        return shown(described(realm))

    async def _list(self, request: Request) -> Response:
        params = request.query_params
        brief = is_true(params, "briefRepresentation")
        found = page(self._found(request), params, size=100)
        seen = [self.brief(user) if brief else self.shown(user) for user in found]
        return shown([{**user, "access": {"manage": True}} for user in seen])

    async def _count(self, request: Request) -> Response:
        return shown(len(self._found(request)))

    def _found(self, request: Request) -> list[Document]:
        realm, visitor = self._access.enter(request)
        if not visitor.may_list("manage-users", "view-users"):
            return []
        return [user for user in self._all(realm) if _wanted(user, request)]

    async def _create(self, request: Request) -> Response:
        realm, visitor = self._access.enter(request)
        visitor.must("manage-users")
        body = await read_object(request, "UserRepresentation", FIELDS)
        if body is None:
            raise crash()
        if not body.get("username"):
            raise message(400, "User name is missing")
        key = str(uuid.uuid4())
        new = {
            "realm": realm.name,
            "id": key,
            "emailVerified": body.get("emailVerified", False),
            "enabled": body.get("enabled", False),
            "createdTimestamp": int(time.time() * 1000),
            "requiredActions": _actions(body.get("requiredActions") or []),
            "roles": [f"default-roles-{realm.name}"],
            **validated(realm, body),
        }
        self._expect_free(realm, new)
        for credential in body.get("credentials") or []:
            _set_password(new, credential)
        self._store.put("user", key, new)
        return created(request, key)

    async def _get(self, request: Request) -> Response:
        user = self.one(request)
        _, visitor = self._access.enter(request)
        allowed = visitor.may("manage-users")
        return shown({**self.shown(user), "access": {name: allowed and name != "impersonate" for name in _ACCESS}})

    async def _update(self, request: Request) -> Response:
        user = dict(self.one(request, write=True))
        realm = self._access.realms[user["realm"]]
        body = await read_object(request, "UserRepresentation", FIELDS)
        if body is None:
            raise message(400, "Could not update user!")
        if str(body.get("username", user["username"])).lower() != user["username"]:
            raise field("username", "error-user-attribute-read-only")
        for name in ("emailVerified", "enabled"):
            user[name] = body.get(name, user[name])
        if body.get("requiredActions") is not None:
            user["requiredActions"] = _actions(body["requiredActions"])
        user |= _merged(realm, user, body)
        self._expect_free(realm, user)
        self._store.put("user", user["id"], user)
        return done()

    async def _delete(self, request: Request) -> Response:
        key = self.one(request, write=True)["id"]
        for member in [one for one in self._store.all("member") if one["user"] == key]:
            self._store.delete("member", f"{member['organization']}.{key}")
        self._store.delete("user", key)
        return done()

    async def _reset_password(self, request: Request) -> Response:
        user = self.one(request, write=True)
        body = await read_json(request)
        if body.get("value") is None:
            raise plain(400, "No password provided")
        if not body["value"]:
            raise plain(400, "Empty password not allowed")
        _set_password(user, body)
        self._store.put("user", user["id"], user)
        return done()

    async def _mail(self, request: Request) -> Response:
        user = self.one(request, write=True)
        realm = self._access.realms[user["realm"]]
        actions = await read_json(request)
        if not user.get("email"):
            raise message(400, "User email missing")
        if not user["enabled"]:
            raise message(400, "User is disabled")
        _expect_link(realm, request)
        number(request.query_params.get("lifespan"), 0)
        if actions and any(action not in ACTIONS for action in actions):
            raise message(400, "Provided invalid required actions")
        if not realm.mail:
            raise message(500, NO_SMTP)
        sent = {"to": user["email"], "user": user["id"], "actions": actions or [], "sent": int(time.time() * 1000)}
        self._store.put("mail", str(uuid.uuid4()), sent)
        return done()

    def _expect_free(self, realm: Realm, new: Document) -> None:
        others = [user for user in self._all(realm) if user["id"] != new["id"]]
        if new.get("email") and any(user.get("email") == new["email"] for user in others):
            raise message(409, "User exists with same email")
        if any(user["username"] == new["username"] for user in others):
            raise message(409, "User exists with same username")


def _wanted(user: Document, request: Request) -> bool:
    params = request.query_params
    exact = is_true(params, "exact")
    for name in ("username", "email", "firstName", "lastName"):
        asked = params.get(name)
        if asked and not _same(user.get(name), asked, exact=exact):
            return False
    search = params.get("search")
    texts = [user.get(name) for name in ("username", "email", "firstName", "lastName")]
    if search and not any(_searched(search, text) for text in texts):
        return False
    if "enabled" in params and is_true(params, "enabled") != user["enabled"]:
        return False
    return has_pairs(user["attributes"], params.get("q"), any_case=True)


def _searched(search: str, text: str | None) -> bool:
    """In quotes it has to be the whole text."""
    quoted = len(search) > 1 and search[0] == search[-1] == '"'
    return _same(text, search.strip('"'), exact=quoted)


def _same(text: str | None, asked: str, *, exact: bool) -> bool:
    return (text or "").lower() == asked.lower() if exact else like(asked, text)


def _merged(realm: Realm, user: Document, body: Mapping[str, Any]) -> dict[str, Any]:
    """The profile after a PUT. With attributes in it, or a name or e-mail, it is meant to be the whole profile."""
    names = ("username", "email", "firstName", "lastName")
    old = {name: user.get(name) for name in names}
    if "attributes" in body:
        whole = {"username": user["username"], **{name: body[name] for name in (*names, "attributes") if name in body}}
        return {**dict.fromkeys(names), "attributes": {}, **validated(realm, whole)}
    given = {name: body[name] for name in names if name in body}
    return validated(realm, {**old, **given, "attributes": user["attributes"]}) if given else {}


def _actions(asked: list[str]) -> list[str]:
    return [action for action in ACTIONS if action in asked]


def _set_password(user: Document, credential: Mapping[str, Any]) -> None:
    user["password"] = passwords.kept(str(credential["value"]))
    others = [action for action in user["requiredActions"] if action != "UPDATE_PASSWORD"]
    user["requiredActions"] = [*others, "UPDATE_PASSWORD"] if credential.get("temporary") else others


def _expect_link(realm: Realm, request: Request) -> None:
    client_id, redirect = request.query_params.get("client_id"), request.query_params.get("redirect_uri")
    if redirect and not client_id:
        raise message(400, "Client id missing")
    if client_id is None:
        return
    client = realm.client(client_id)
    if client is None and client_id != "account":
        raise message(400, "Client doesn't exist")
    if redirect and (client is None or redirect not in client.redirect_uris):
        raise message(400, "Invalid redirect uri.")
