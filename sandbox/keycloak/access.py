"""Who may do what: the bearer token of a request, and the client roles of `realm-management` that it carries."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from sandbox.keycloak.answers import Problem, oauth, plain
from sandbox.keycloak.settings import EVERY_RIGHT, Realm
from sandbox.keycloak.tokens import Tokens

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever shows a good token.

    Args:
        rights: client roles of `realm-management` in the realm that is visited.
    """

    rights: frozenset[str]

    def may(self, *any_of: str) -> bool:
        """Whether one of these roles is there."""
        return not self.rights.isdisjoint(any_of)

    def must(self, *any_of: str) -> None:
        """Raises: Problem 403 when none of these roles is there."""
        if not self.may(*any_of):
            raise plain(403)

    def may_list(self, *any_of: str) -> bool:
        """Whether a list has anything in it: with a mere right to query it is empty, without one it is refused."""
        if self.may(*any_of):
            return True
        if not any(right.startswith("query-") for right in self.rights):
            raise plain(403)
        return False


class Access:
    """Lets requests of the admin API into a realm."""

    def __init__(self, realms: Mapping[str, Realm], tokens: Tokens) -> None:
        self.realms = realms
        self._tokens = tokens

    def enter(self, request: Request) -> tuple[Realm, Visitor]:
        """The realm in the path, and who comes. Raises: Problem 401, 404 or 403."""
        home, rights = self._claims(request)
        realm = self.realms.get(request.path_params["realm"])
        if realm is None:
            raise plain(404, "Realm not found.")
        if home == "master":
            return realm, Visitor(EVERY_RIGHT)
        if home != realm.name:
            raise plain(403)
        return realm, Visitor(rights)

    def _claims(self, request: Request) -> tuple[str, frozenset[str]]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = self._tokens.read(token) if scheme.lower() == "bearer" else None
        if claims is None or claims.get("typ") != "Bearer":
            raise plain(401)
        home = str(claims["iss"]).rsplit("/", 1)[-1]
        client = self.realms[home].client(claims["azp"]) if home in self.realms else None
        if client is None or not client.enabled:
            raise plain(401)
        return home, frozenset(claims.get("resource_access", {}).get("realm-management", {}).get("roles", ()))


def handled(handler: Handler) -> Handler:
    """The handler, whose problems are answers; so is a value of another type than the one that is wanted."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as problem:
            return problem.answer()
        except (AttributeError, TypeError, LookupError):
            return oauth(400, "unknown_error", "Cannot parse the JSON").answer()

    return answer
