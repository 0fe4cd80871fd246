"""Errors of the Terraform Cloud client as failures of the domain, by exception type and status code.

pytfe hides what httpx says inside a ServerError without a status, with the cause chained; it checks some arguments
itself, also without a status; and it raises pydantic's ValidationError where an answer has a form it does not know.
Source: HCP Terraform API, Overview (error codes, rate limiting).
"""

import ssl
from collections.abc import Mapping, Sequence

import httpx
from pytfe.errors import RateLimited, ServerError, TFEError

from tenant_pipelines.adapters.network import outage
from tenant_pipelines.adapters.terraform.logs import masked
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceNotFound,
    Validation,
)

SYSTEM = "Terraform"
UNREADABLE = (ValueError, LookupError, TypeError)
"""What an answer of an unexpected form makes the client raise (pydantic's and json's errors are ValueErrors)."""

_NEW_TOKEN = "give the organization's team or user a new API token, and us its value in the settings"  # noqa: S105 - advice


_BY_STATUS: Mapping[int, tuple[type[Failure], str]] = {
    400: (Validation, "does not accept the request"),
    403: (PermissionDenied, "does not allow this to our API token: 403 Forbidden"),
    404: (ResourceNotFound, "does not have what was asked for, or does not show it to us"),
    409: (LockHeld, "does not allow this at the moment"),
    422: (Validation, "does not accept the request"),
    423: (LockHeld, "does not allow this at the moment"),
}


def translated(error: Exception, address: str, *, write: bool) -> Failure:
    """The failure behind an error of the client.

    Args:
        address: where Terraform Cloud was called.
        write: whether the request would change something, so that its effect may come without an answer.
    """
    network = outage(SYSTEM, address, error)
    if network is not None:
        network.lost = network.lost and write
        return network
    return _answered(error, address, write=write)


def _answered(error: Exception, address: str, *, write: bool) -> Failure:
    match error:
        case RateLimited(retry_after=wait):
            return of_status(429, write=write, wait=None if wait is None else min(wait, 3600.0))
        case TFEError(status=int(status)):
            return of_status(status, write=write, said=_said(error.errors))
        case ServerError() | httpx.HTTPError() | httpx.InvalidURL():
            return _transport(error, address, write=write)
        case TFEError():
            return InvalidConfiguration(SYSTEM, f"cannot be asked: {_short(str(error))}")
    return Answered(SYSTEM, "gave an answer that cannot be read", lost=write)


def of_status(status: int, *, write: bool, said: str = "", wait: float | None = None) -> Failure:
    """The failure behind a status code.

    Args: said: the reason as the system gives it, short and masked. wait: seconds it asked us to wait.
    """
    because = f": {said}" if said else ""
    if status == 429 or status >= 500:
        found = Outage.status(SYSTEM, status, retry_after=wait)
        found.lost = found.lost and write
        return found
    if status == 401:
        return InvalidCredentials(SYSTEM, "answered 401 Unauthorized: it knows no such API token", way_out=_NEW_TOKEN)
    kind, words = _BY_STATUS.get(status, (Answered, "answered"))
    return kind(SYSTEM, f"{words} (HTTP {status}){because}")


def _transport(error: Exception, address: str, *, write: bool) -> Failure:
    """What is left of transport errors once refused, late and dropped ones are known."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return InvalidConfiguration(SYSTEM, f"shows a certificate that is not accepted: {address}")
        if isinstance(link, httpx.UnsupportedProtocol | httpx.InvalidURL):
            return InvalidConfiguration(SYSTEM, f"cannot be reached at this address: {address}")
        link = link.__cause__ or link.__context__
    return Outage(SYSTEM, f"cannot be talked to: {address}", lost=write)


def _said(errors: Sequence[object]) -> str:
    """The first of JSON:API's errors: where, and what."""
    first = errors[0] if errors else None
    if not isinstance(first, Mapping):
        return ""
    detail = first.get("detail") or first.get("title") or ""
    source = first.get("source")
    pointer = source.get("pointer", "") if isinstance(source, Mapping) else ""
    return _short(f"{detail} ({pointer})" if pointer else str(detail))


def _short(text: str) -> str:
    return masked(" ".join(text.split()))[:200]
