"""The API server's way to say no: Status objects, with reason and details as the real server fills them.

Source: the Kubernetes API conventions, section "Response Status Kind", and recorded answers of v1.35.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

Json = dict[str, Any]

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
}

LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


class Refused(Exception):
    """The request ends here, with this Status."""

    def __init__(self, body: Json) -> None:
        super().__init__(body["message"])
        self.body = body

    def response(self) -> Response:
        """The Status as an answer."""
        return JSONResponse(self.body, status_code=self.body["code"])


@dataclass(frozen=True, slots=True)
class Cause:
    """One wrong field."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def as_json(self) -> Json:
        """As in `details.causes`."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


@dataclass(frozen=True, slots=True)
class About:
    """What a Status is about: `details` without causes. `kind` is the resource, or the kind where input is invalid."""

    kind: str = ""
    name: str = ""
    group: str = ""

    def as_json(self) -> Json:
        """As in `details`; what is empty is left out."""
        return {key: value for key in ("name", "group", "kind") if (value := getattr(self, key))}

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


def status(
    code: int, message: str, about: About | None = None, *, reason: str = "", causes: Sequence[Cause] = ()
) -> Json:
    """A Status of failure."""
    body: Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or REASONS.get(code, "Unknown"),
    }
    if about is not None:
        details = about.as_json()
        if causes:
            details["causes"] = [cause.as_json() for cause in causes]
        body["details"] = details
    return body | {"code": code}


def not_found(about: About) -> Refused:
    """404 for an object."""
    return Refused(status(404, f'{about} "{about.name}" not found', about))


def unknown_resource() -> Refused:
    """404 for a resource that the server does not serve."""
    return Refused(status(404, "the server could not find the requested resource", About()))


def already_exists(about: About, *, deleting: bool = False) -> Refused:
    """409 on create."""
    before = "object is being deleted: " if deleting else ""
    return Refused(status(409, f'{before}{about} "{about.name}" already exists', about, reason="AlreadyExists"))


def conflict(about: About, why: str) -> Refused:
    """409 on update, patch or delete."""
    return Refused(status(409, f'Operation cannot be fulfilled on {about} "{about.name}": {why}', about))


def forbidden(about: About, why: str, causes: Sequence[Cause] = ()) -> Refused:
    """403, from authorization or from admission."""
    name = f' "{about.name}"' if about.name else ""
    return Refused(status(403, f"{about}{name} is forbidden: {why}", about, causes=causes))


def invalid(about: About, causes: Sequence[Cause]) -> Refused:
    """422 with its causes."""
    told = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    told = told if len(causes) == 1 else f"[{told}]"
    return Refused(status(422, f'{about} "{about.name}" is invalid: {told}', about, causes=causes))


def bad_request(message: str) -> Refused:
    """400."""
    return Refused(status(400, message))
