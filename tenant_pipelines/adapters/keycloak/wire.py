"""The way to the realm: the client library, with a gate of ours in front of the wire.

The gate asks the call for the time-out of each request, and the fence before each one that writes; that holds for
the second request too which the library sends by itself after a 401. What Keycloak refuses becomes a `Refusal`
without its body: some bodies name another tenant's organization.
"""

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import requests
from keycloak import KeycloakAdmin, KeycloakOpenIDConnection
from keycloak.connection import ConnectionManager
from keycloak.exceptions import KeycloakAuthenticationError, KeycloakConnectionError, KeycloakError
from requests import Response

from tenant_pipelines.adapters import network
from tenant_pipelines.adapters.keycloak.refusal import Refusal
from tenant_pipelines.adapters.keycloak.settings import SYSTEM, KeycloakRealm
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    Outage,
    PermissionDenied,
)

ROLES_NEEDED = {
    "manage-organizations": frozenset({"manage-organizations", "manage-realm"}),
    "manage-users": frozenset({"manage-users"}),
}
"""Client roles of `realm-management`, each with the roles that include it."""


class Realm:
    """The realm's admin API; one object serves every thread of a process."""

    def __init__(self, settings: KeycloakRealm) -> None:
        self.settings = settings
        self._moment = _Moment()
        self._lock = threading.Lock()
        self._admin: KeycloakAdmin | None = None

    @contextmanager
    def during(self, call: Call) -> Iterator[KeycloakAdmin]:
        """The client, whose requests inside the block belong to the call.

        Raises: what the gate raises; a Refusal that nobody inside has understood becomes a failure here.
        """
        self._moment.call = call
        try:
            yield self._client()
        except Refusal as refusal:
            raise refusal.failure(f"the realm {self.settings.realm}") from refusal
        except KeycloakAuthenticationError as error:
            raise _not_known(self.settings) from error
        except (KeycloakError, TypeError, ValueError, LookupError) as error:
            raise Answered(SYSTEM, "gave an answer that is not the admin API's") from error
        finally:
            self._moment.call = None

    def _client(self) -> KeycloakAdmin:
        with self._lock:
            if self._admin is None:
                self._admin = KeycloakAdmin(connection=_Connection(self.settings, self._moment))
            return self._admin


class _Moment(threading.local):
    """What the thread is doing just now."""

    call: Call | None = None
    timeout: float = 30.0


class _Gate(ConnectionManager):
    """Lets a request out only within its call, and judges the answer by its status."""

    moment: _Moment
    settings: KeycloakRealm
    changes = True
    """Whether a POST, PUT or DELETE through this gate changes anything."""

    @property
    def timeout(self) -> int | None:
        """Seconds for the request that is just being sent (the library says int, requests takes fractions)."""
        return cast("int", self.moment.timeout)

    @timeout.setter
    def timeout(self, value: int | None) -> None:
        """The library's default is of no use: every request has a time-out of its own."""

    def raw_get(self, path: str, **params: Any) -> Response:  # noqa: ANN401 - as the library has it
        """Read."""
        return self._through(partial(super().raw_get, path, **params), f"GET {path}", write=False)

    def raw_post(self, path: str, data: Any, **params: Any) -> Response:  # noqa: ANN401
        """Create."""
        return self._through(partial(super().raw_post, path, data, **params), f"POST {path}", write=self.changes)

    def raw_put(self, path: str, data: Any, **params: Any) -> Response:  # noqa: ANN401
        """Replace."""
        return self._through(partial(super().raw_put, path, data, **params), f"PUT {path}", write=self.changes)

    def raw_delete(self, path: str, data: Any = None, **params: Any) -> Response:  # noqa: ANN401
        """Delete."""
        return self._through(partial(super().raw_delete, path, data, **params), f"DELETE {path}", write=self.changes)

    def _through(self, send: Callable[[], Response], operation: str, *, write: bool) -> Response:
        call = self.moment.call
        if call is None:
            raise RuntimeError("Keycloak was called outside of a call")
        self.moment.timeout = call.before_write() if write else call.seconds_left()
        try:
            response = send()
        except KeycloakConnectionError as error:
            failure = _network(self.settings.url, error)
            failure.lost = failure.lost and write
            raise failure from error
        self._judge(response, operation, write=write)
        return response

    def _judge(self, response: Response, operation: str, *, write: bool) -> None:
        status = response.status_code
        if status == 401:
            return  # the library renews the token and sends the request once more
        if status == 403:
            what = f"does not allow client {self.settings.client_id} to {operation} (403 Forbidden)"
            raise PermissionDenied(SYSTEM, what, way_out=_roles(self.settings, list(ROLES_NEEDED)))
        if status >= 400:
            raise Refusal(
                status,
                write=write,
                retry_after=network.retry_after(response.headers.get("Retry-After")),
                field=_field(response),
            )
        if status == 200 and not response.headers.get("Content-Type", "").startswith("application/json"):
            what = "answered with something that is not JSON: another server seems to stand in front of it"
            raise Answered(SYSTEM, what, way_out=_look(self.settings))


class _TokenGate(_Gate):
    """The token endpoint: asking for a token changes nothing there, and its refusals are about our own set-up."""

    changes = False

    def __init__(self, settings: KeycloakRealm, moment: _Moment) -> None:
        self.settings = settings
        self.moment = moment
        super().__init__(_base(settings), max_retries=0)

    def _judge(self, response: Response, operation: str, *, write: bool) -> None:
        match response.status_code:
            case 401:
                raise _not_known(self.settings)
            case 404:
                what = f"realm not found: {self.settings.realm}"
                raise InvalidConfiguration(SYSTEM, what, way_out=_look(self.settings))
            case 400 | 403 | 405 as status:
                what = f"gives client {self.settings.client_id} no token (HTTP {status})"
                raise InvalidConfiguration(SYSTEM, what, way_out=_roles(self.settings, list(ROLES_NEEDED)))
        super()._judge(response, operation, write=write)


class _Connection(KeycloakOpenIDConnection, _Gate):
    """The library's connection with the service account's token, which is renewed before it expires."""

    def __init__(self, settings: KeycloakRealm, moment: _Moment) -> None:
        self.settings = settings
        self.moment = moment
        super().__init__(
            server_url=_base(settings),
            grant_type="client_credentials",
            realm_name=settings.realm,
            client_id=settings.client_id,
            client_secret_key=settings.client_secret,
            max_retries=0,
        )
        self._tokens = _TokenGate(settings, moment)

    def get_token(self) -> None:
        """Get a token that proves its rights.

        The library's own way sends a request that hangs a second time. And without the rights Keycloak answers
        every search with an empty list, so that an undo would believe that all is gone: such a token is not used.
        """
        answer = self._tokens.raw_post(
            f"realms/{self.settings.realm}/protocol/openid-connect/token",
            {
                "grant_type": "client_credentials",
                "client_id": self.settings.client_id,
                "client_secret": self.settings.client_secret,
            },
        ).json()
        missing = [role for role, any_of in ROLES_NEEDED.items() if not any_of & _granted(answer["access_token"])]
        if missing:
            what = f"did not give client {self.settings.client_id} the roles {', '.join(missing)} of realm-management"
            raise PermissionDenied(SYSTEM, what, way_out=_roles(self.settings, missing))
        self.token = answer

    def refresh_token(self) -> None:
        """A service account just asks for another token."""
        self.get_token()


def _base(settings: KeycloakRealm) -> str:
    return settings.url.rstrip("/") + "/"  # the library joins paths to it, which would cut off a base path without /


def _granted(token: str) -> frozenset[str]:
    """The client roles of `realm-management` in an access token; none when it cannot be read."""
    try:
        claims = token.split(".")[1]
        roles = json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["resource_access"]["realm-management"]
        return frozenset(roles["roles"])
    except (ValueError, LookupError, TypeError):
        return frozenset()


def _network(url: str, error: KeycloakConnectionError) -> Failure:
    found = network.outage(SYSTEM, url, error)
    if found is not None:
        return found
    match error.__cause__:
        case requests.exceptions.SSLError():
            return InvalidConfiguration(SYSTEM, "shows a TLS certificate that is not accepted here")
        case requests.ConnectionError():
            return Outage(SYSTEM, f"cannot be reached at {url}")
        case _:
            return InvalidConfiguration(SYSTEM, f"cannot be called at {url}")


def _field(response: Response) -> str | None:
    """The field named in a validation error; only ever a plain name, never what was entered."""
    try:
        name = response.json()["field"]
    except (ValueError, LookupError, TypeError):
        return None
    return name if isinstance(name, str) and name.isidentifier() and len(name) <= 64 else None


def _not_known(settings: KeycloakRealm) -> InvalidCredentials:
    what = f"answered 401 Unauthorized: it does not accept client {settings.client_id} with the secret given"
    where = f"Keycloak console, realm {settings.realm}, Clients, {settings.client_id}, Credentials"
    return InvalidCredentials(SYSTEM, what, way_out=f"compare the secret in the settings with the one in: {where}")


def _look(settings: KeycloakRealm) -> str:
    return f"curl {settings.url.rstrip('/')}/realms/{settings.realm}"


def _roles(settings: KeycloakRealm, missing: list[str]) -> str:
    where = f"Keycloak console, realm {settings.realm}, Clients, {settings.client_id}, Service accounts roles"
    return f"{where}: assign {', '.join(missing)} of realm-management"
