"""The stand-in itself: the routes put together, and what is not there."""

import json
import re
from collections.abc import Sequence
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.keycloak.access import Access, Handler, handled
from sandbox.keycloak.answers import plain, shown
from sandbox.keycloak.openid import OpenId
from sandbox.keycloak.organizations import Organizations
from sandbox.keycloak.roles import Roles
from sandbox.keycloak.settings import MASTER, Operator, Realm
from sandbox.keycloak.tokens import Tokens
from sandbox.keycloak.users import Users
from sandbox.standin import Seen, StandIn
from sandbox.store import Document, Store

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


class Keycloak(StandIn):
    """Keycloak with the realm `master` and the realms given. Mails go no further than the store (kind `mail`).

    Args:
        store: what it remembers.
        realms: beside `master`; they stay as they are, the API cannot make any.
        operator: the administrator of `master`.
    """

    name = "keycloak"
    base = "/auth"

    def __init__(
        self, store: Store | None = None, *, realms: Sequence[Realm] = (Realm(),), operator: Operator | None = None
    ) -> None:
        super().__init__(store)
        self._realms = {realm.name: realm for realm in (MASTER, *realms)}
        self._operator = operator or Operator()

    def routes(self) -> Sequence[BaseRoute]:
        """Everything below `/auth`."""
        tokens = Tokens(self.store)
        access = Access(self._realms, tokens)
        users = Users(self.store, access)

        async def about(request: Request) -> Response:
            return _about(access, request)

        found = [
            *OpenId(self.store, self._realms, self._operator, tokens).routes(),
            Route("/admin/realms/{realm}", handled(about), methods=["GET"]),
            *Organizations(self.store, access, users).routes(),
            *users.routes(),
            *Roles(self.store, access, users).routes(),
        ]
        return [*found, Route("/{rest:path}", handled(_elsewhere(found)), methods=METHODS)]

    def app(self) -> ASGIApp:
        """As every stand-in's; beside the base path there is nothing but a page of HTML."""
        inside = super().app()
        nothing = HTMLResponse("<html><body><h1>Resource not found</h1></body></html>", status_code=404)

        async def entry(scope: Scope, receive: Receive, send: Send) -> None:
            beside = scope["type"] == "http" and not scope["path"].startswith((f"{self.base}/", "/_sandbox/"))
            await (nothing if beside else inside)(scope, receive, send)

        return entry

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Organizations and users."""
        named = {"organization": "alias", "user": "username"}
        return [
            (_seen(kind, one, one[name]), json.dumps(one)) for kind, name in named.items() for one in self._all(kind)
        ]

    def _all(self, kind: str) -> list[Document]:
        return self.store.all(kind)

    def error(self, status: int, message: str) -> Response:
        """As Keycloak words what it has no more to say about."""
        if status == 500:
            text = {"error": "unknown_error", "error_description": "For more on this error consult the server log."}
            return JSONResponse(text, status_code=500)
        return JSONResponse({"error": f"HTTP {status} {message}"}, status_code=status)


def _seen(kind: str, one: Document, name: str) -> Seen:
    return Seen(kind, one["id"], name, one["attributes"].get("managedBy") == ["tenant-pipelines"])


def _about(access: Access, request: Request) -> Response:
    """The realm; in short for those who may not look at it."""
    realm, visitor = access.enter(request)
    visitor.must(*visitor.rights)
    short = {
        "realm": realm.name,
        "registrationEmailAsUsername": False,
        "bruteForceProtected": False,
        "supportedLocales": [],
        "organizationsEnabled": realm.organizations,
    }
    if not visitor.may("view-realm", "manage-realm"):
        return shown(short)
    full = {
        "id": str(uuid5(NAMESPACE_URL, realm.name)),
        "enabled": True,
        "accessTokenLifespan": realm.token_seconds,
        "editUsernameAllowed": False,
        "duplicateEmailsAllowed": False,
        "loginWithEmailAllowed": True,
        "sslRequired": "external",
    }
    return shown({**short, **full})


def _elsewhere(routes: Sequence[Route]) -> Handler:
    async def answer(request: Request) -> Response:
        if any(route.matches(request.scope)[0] is Match.PARTIAL for route in routes):
            raise plain(405)
        below = re.match(r"admin/realms/[^/]+/.", request.path_params["rest"])
        raise plain(404, None if below else "Unable to find matching target resource method")

    return answer
