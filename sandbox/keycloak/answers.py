"""Keycloak's own way to answer: three forms of errors, representations with a character set, creations by Location."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

WORDS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
}


class Problem(Exception):
    """A request that is refused, with the answer to it."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body

    def answer(self) -> Response:
        """The answer."""
        return JSONResponse(self.body, status_code=self.status)


def message(status: int, text: str) -> Problem:
    """The form of the admin API where it knows what is wrong."""
    return Problem(status, {"errorMessage": text})


def plain(status: int, text: str | None = None) -> Problem:
    """The form of a bare HTTP status, or of something that was not found."""
    return Problem(status, {"error": text or f"HTTP {status} {WORDS[status]}"})


def oauth(status: int, code: str, description: str) -> Problem:
    """The form of OAuth 2 (RFC 6749, section 5.2), which the admin API uses for some of its errors too."""
    return Problem(status, {"error": code, "error_description": description})


def field(name: str, code: str, *params: object) -> Problem:
    """The form of the user profile's validations."""
    return Problem(400, {"field": name, "errorMessage": code, "params": [name, *params]})


def crash() -> Problem:
    """What Keycloak says when its database has refused something."""
    return oauth(500, "unknown_error", "For more on this error consult the server log.")


def shown(body: Any) -> Response:
    """A representation."""
    return JSONResponse(body, media_type="application/json;charset=UTF-8")


def created(request: Request, key: str) -> Response:
    """An empty 201 that says where the new object is."""
    where = f"{request.url.scheme}://{request.url.netloc}{request.url.path.rstrip('/')}/{key}"
    return Response(status_code=201, headers={"Location": where})


def done() -> Response:
    """An empty 204."""
    return Response(status_code=204)


async def read_object(request: Request, kind: str, known: frozenset[str]) -> dict[str, Any] | None:
    """The JSON object in a body; None for no body.

    Raises: Problem for another content type, something that is not JSON, and for unknown fields.
    """
    body = await read_json(request)
    if body is None:
        return None
    if not isinstance(body, dict):
        raise oauth(400, "unknown_error", "Cannot parse the JSON")
    for name in body:
        if name not in known:
            column = (await request.body()).decode("utf-8", "replace").index(f'"{name}"') + len(name) + 5
            text = f'Unrecognized field "{name}" at line 1 column {column}.'
            raise plain(400, f"Invalid json representation for {kind}. {text}")
    return body


async def read_json(request: Request) -> Any:
    """The JSON in a body; None for no body."""
    body = await read_body(request)
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise oauth(400, "invalid_request", "Cannot parse the JSON") from None


async def read_body(request: Request) -> bytes:
    """The body, which has to call itself JSON."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise plain(415, "The content-type header value did not match the value in @Consumes")
    return await request.body()
