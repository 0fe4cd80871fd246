"""OpenID Connect: tokens for service accounts and for passwords, and what a realm says about itself to everybody."""

import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.keycloak import passwords
from sandbox.keycloak.access import handled
from sandbox.keycloak.answers import oauth, plain
from sandbox.keycloak.settings import Client, Operator, Realm
from sandbox.keycloak.tokens import Tokens
from sandbox.store import Document, Store

REFRESH_SECONDS = 1800
SCOPES = ("openid", "email", "profile", "organization")


class OpenId:
    """The endpoints below `/realms`."""

    def __init__(self, store: Store, realms: Mapping[str, Realm], operator: Operator, tokens: Tokens) -> None:
        self._store = store
        self._realms = realms
        self._operator = operator
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """The routes, below the base path."""
        token = "/realms/{realm}/protocol/openid-connect/token"  # noqa: S105 - a path
        return [
            Route("/realms/{realm}", handled(self._about), methods=["GET"]),
            Route(token, handled(self._token), methods=["POST"]),
        ]

    async def _about(self, request: Request) -> Response:
        realm = self._realm(request)
        here = _issuer(request, realm)
        return JSONResponse(
            {
                "realm": realm.name,
                "public_key": b64encode(self._tokens.key_id.encode()).decode(),
                "token-service": f"{here}/protocol/openid-connect",
                "account-service": f"{here}/account",
                "tokens-not-before": 0,
            }
        )

    async def _token(self, request: Request) -> Response:
        realm = self._realm(request)
        pairs = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(pairs)
        if len(form) < len(pairs):
            raise oauth(400, "invalid_request", "duplicated parameter")
        form |= _in_the_header(request)
        if not form.get("grant_type"):
            raise oauth(400, "invalid_request", "Missing form parameter: grant_type")
        client = _known(realm, form)
        scope = self._scope(realm, form.get("scope", ""))
        match form["grant_type"]:
            case "client_credentials":
                return self._answer(request, realm, client, _service_account(realm, client), scope)
            case "password":
                return self._answer(request, realm, client, self._person(realm, client, form), scope, session=True)
            case "refresh_token":
                return self._answer(request, realm, client, self._again(realm, form), scope, session=True)
            case _:
                raise oauth(400, "unsupported_grant_type", "Unsupported grant_type")

    def _realm(self, request: Request) -> Realm:
        realm = self._realms.get(request.path_params["realm"])
        if realm is None:
            raise plain(404, "Realm does not exist")
        return realm

    def _person(self, realm: Realm, client: Client, form: Mapping[str, str]) -> dict[str, Any]:
        if not client.direct_access:
            raise oauth(400, "unauthorized_client", "Client not allowed for direct access grants")
        name, password = form.get("username", ""), form.get("password", "")
        if realm.name == "master":
            known = name == self._operator.username and secrets.compare_digest(
                password.encode(), self._operator.password.encode()
            )
            if not known:
                raise oauth(400, "invalid_grant", "Invalid user credentials")
            return {"sub": str(uuid5(NAMESPACE_URL, f"master/{name}")), "preferred_username": name}
        return _profile(self._login(realm, name.lower(), password))

    def _login(self, realm: Realm, name: str, password: str) -> Document:
        users = (user for user in self._store.all("user") if user["realm"] == realm.name)
        user = next((user for user in users if name in (user["username"], user.get("email"))), None)
        if user is None or not passwords.matches(user.get("password"), password):
            raise oauth(400, "invalid_grant", "Invalid user credentials")
        if not user["enabled"]:
            raise oauth(400, "invalid_grant", "Account disabled")
        if user["requiredActions"]:
            raise oauth(400, "invalid_grant", "Account is not fully set up")
        return user

    def _again(self, realm: Realm, form: Mapping[str, str]) -> dict[str, Any]:
        claims = self._tokens.read(form.get("refresh_token", ""))
        if claims is None or claims.get("typ") != "Refresh" or not str(claims["iss"]).endswith(f"/{realm.name}"):
            raise oauth(400, "invalid_grant", "Invalid refresh token")
        return dict(claims["person"])

    def _scope(self, realm: Realm, asked: str) -> list[str]:
        wanted = asked.split()
        aliases = [one["alias"] for one in self._store.all("organization") if one["realm"] == realm.name]
        known = {*SCOPES, "organization:*", *(f"organization:{alias}" for alias in aliases)}
        if not known.issuperset(wanted):
            raise oauth(400, "invalid_scope", f"Invalid scopes: {asked}")
        rest = [one for one in wanted if one not in ("openid", "email", "profile")]
        return [*(["openid"] if "openid" in wanted else []), "email", *rest, "profile"]

    def _answer(
        self,
        request: Request,
        realm: Realm,
        client: Client,
        person: dict[str, Any],
        scope: list[str],
        *,
        session: bool = False,
    ) -> Response:
        claims = {"iss": _issuer(request, realm), "azp": client.client_id}
        access = {**claims, "aud": "account", "typ": "Bearer", "scope": " ".join(scope), **person}
        body: dict[str, Any] = {
            "access_token": self._tokens.issue(access, realm.token_seconds),
            "expires_in": realm.token_seconds,
            "refresh_expires_in": REFRESH_SECONDS if session else 0,
        }
        if session:
            refresh = {**claims, "typ": "Refresh", "person": person}
            body["refresh_token"] = self._tokens.issue(refresh, REFRESH_SECONDS)
        body |= {"token_type": "Bearer"}
        if "openid" in scope:
            about = {**claims, "aud": client.client_id, "typ": "ID", "sub": person["sub"]}
            body["id_token"] = self._tokens.issue(about, realm.token_seconds)
        body["not-before-policy"] = 0
        if session:
            body["session_state"] = secrets.token_urlsafe(18)
        body["scope"] = " ".join(scope)
        return JSONResponse(body, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


def _in_the_header(request: Request) -> dict[str, str]:
    """The client that shows its secret by HTTP Basic (RFC 6749, section 2.3.1)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        name, _, secret = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return {}
    return {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}


def _known(realm: Realm, form: Mapping[str, str]) -> Client:
    client = realm.client(form.get("client_id", ""))
    if client is None or not client.enabled:
        raise oauth(401, "invalid_client", "Invalid client or Invalid client credentials")
    given = form.get("client_secret", "")
    if client.secret is not None and not secrets.compare_digest(given.encode(), client.secret.encode()):
        raise oauth(401, "unauthorized_client", "Invalid client or Invalid client credentials")
    return client


def _service_account(realm: Realm, client: Client) -> dict[str, Any]:
    if client.secret is None or not client.service_account:
        raise oauth(401, "unauthorized_client", "Client not enabled to retrieve service account")
    name = f"service-account-{client.client_id}"
    return {
        "sub": str(uuid5(NAMESPACE_URL, f"{realm.name}/{name}")),
        "preferred_username": name,
        "client_id": client.client_id,
        "resource_access": {"realm-management": {"roles": sorted(client.rights)}} if client.rights else {},
    }


def _profile(user: Document) -> dict[str, Any]:
    named = {"preferred_username": "username", "email": "email", "given_name": "firstName", "family_name": "lastName"}
    return {
        "sub": user["id"],
        "auth_time": int(time.time()),
        "realm_access": {"roles": sorted(user["roles"])},
        "email_verified": user["emailVerified"],
    } | {claim: user[name] for claim, name in named.items() if user.get(name)}


def _issuer(request: Request, realm: Realm) -> str:
    base = request.scope.get("root_path", "")
    return f"{request.url.scheme}://{request.url.netloc}{base}/realms/{realm.name}"
