"""What the client library raises, as one of our failures: by type, status code and the Status' structured fields.

Traps of kubernetes 36 that are met here: a failed TLS handshake becomes an ApiException with status 0, whose missing
body the client then tries to decode, so that an AttributeError comes out of it; an error body that is not UTF-8 comes
out as UnicodeDecodeError. In both the ApiException is still in the chain.
Source: the Kubernetes API conventions, section "Response Status Kind".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3.exceptions
from kubernetes.client.exceptions import ApiException

from tenant_pipelines.adapters.network import outage, retry_after
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    Validation,
)

SYSTEM = "Kubernetes"

LIBRARY = (ApiException, urllib3.exceptions.HTTPError, OSError, AttributeError, TypeError, ValueError)
"""All that a call of the client library was seen to raise; wrapped around the library's calls only."""

_LONGEST = 300
"""Characters of a server's own words that are shown."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the API server.

    Args:
        verb, group, resource: as RBAC calls them: `patch`, `apps`, `deployments`.
        namespace: the namespace it is about.
    """

    verb: str
    group: str
    resource: str
    namespace: str

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.verb not in {"get", "list"}

    def __str__(self) -> str:
        return f"{self.verb} of {self.resource} in namespace {self.namespace}"

    @property
    def can_i(self) -> str:
        """The command that tells an operator whether it is allowed."""
        return f"kubectl auth can-i {self.verb} {self.resource} -n {self.namespace}"


def failure(error: BaseException, url: str, request: Request) -> Failure:
    """The failure behind an error of the library; what only the caller can tell apart is not decided here."""
    found = outage(SYSTEM, url, error)
    answer = _answer(error)
    if found is None and answer is not None and answer.status:
        found = _not_now(answer)
    if found is not None:
        found.lost = found.lost and request.writes
        return found
    if answer is None:
        return Answered(SYSTEM, f"gave an answer that is not one of its own to the {request}", lost=request.writes)
    if not answer.status:
        what = f"cannot be spoken to at {url}: the TLS connection fails"
        return InvalidConfiguration(SYSTEM, what, way_out="check the API server's URL and the CA file")
    return _refusal(answer, request)


def _not_now(answer: ApiException) -> Outage | None:
    status = int(answer.status)
    if status != 429 and status < 500:
        return None
    return Outage.status(SYSTEM, status, retry_after=retry_after((answer.headers or {}).get("Retry-After")))


def _refusal(answer: ApiException, request: Request) -> Failure:
    kind, what, way_out = _REFUSALS.get(int(answer.status), _OTHER)
    told = what.format(request=request, resource=request.resource, fields=_fields(answer), status=answer.status)
    return kind(SYSTEM, told, way_out=way_out and way_out.format(can_i=request.can_i))


_INVALID = (Validation, "finds the {request} to be invalid: {fields}", None)
_OTHER = (Answered, "does not carry out the {request} (HTTP {status})", None)
_REFUSALS: Mapping[int, tuple[type[Failure], str, str | None]] = {
    400: _INVALID,
    401: (InvalidCredentials, "does not accept our token: 401 Unauthorized", "issue a new token and set it"),
    403: (
        PermissionDenied,
        "does not allow the {request} (403 Forbidden)",
        "grant the right; check with: {can_i}",
    ),
    404: (
        InvalidConfiguration,
        "does not know {resource} at the URL we were given (404 Not Found)",
        "check the API server's URL",
    ),
    409: (LockHeld, "saw a change by somebody else during the {request} (409 Conflict)", None),
    422: _INVALID,
}


def status_of(error: BaseException) -> int | None:
    """The HTTP status the server answered with, or None when it did not answer."""
    answer = _answer(error)
    return int(answer.status) if answer is not None and answer.status else None


def is_terminating(error: BaseException) -> bool:
    """Whether a 403 says that the namespace is being deleted (`details.causes`, not the message)."""
    return status_of(error) == 403 and any(
        cause.get("reason") == "NamespaceTerminating" for cause in _causes(_answer(error))
    )


def is_not_there(error: BaseException) -> bool:
    """Whether a 404 is about an object. A wrong URL answers 404 as well, and must never count as "removed"."""
    return status_of(error) == 404 and bool(_details(_answer(error)).get("kind"))


def bounded(words: str | None) -> str:
    """The server's own words on one line, cut to a length that fits into a message."""
    line = " ".join((words or "").split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _fields(answer: ApiException) -> str:
    """The fields that were found wrong. Never the message: it quotes values, and one of ours is a Secret."""
    return bounded(", ".join(sorted({str(cause.get("field")) for cause in _causes(answer)})) or "no field is named")


def _causes(answer: ApiException | None) -> list[Mapping[str, Any]]:
    causes = _details(answer).get("causes")
    return [cause for cause in causes if isinstance(cause, Mapping)] if isinstance(causes, list) else []


def _details(answer: ApiException | None) -> Mapping[str, Any]:
    try:
        status = json.loads((answer and answer.body) or "{}")
    except ValueError:
        return {}
    details = status.get("details") if isinstance(status, Mapping) else None
    return details if isinstance(details, Mapping) else {}


def _answer(error: BaseException) -> ApiException | None:
    return next((link for link in _chain(error) if isinstance(link, ApiException)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
