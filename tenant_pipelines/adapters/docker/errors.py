"""The errors of the Docker SDK as failures of the domain, by exception type and status code."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from docker.errors import DockerException

from tenant_pipelines.adapters import network
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    Outage,
    PermissionDenied,
    Validation,
)

SYSTEM = "Docker"


class Missing(Answered):
    """404: the callers know what it means for them."""


class Conflict(Answered):
    """409: the object, or its name, is taken at this moment."""


@contextmanager
def translated(url: str, what: str, *, writing: bool) -> Iterator[None]:
    """Raise every error of the SDK inside as a failure; `what` is the object that the request is about."""
    try:
        yield
    except (requests.RequestException, DockerException, OSError, LookupError, TypeError) as error:
        failure = _failure(url, what, error)
        failure.lost = failure.lost and writing
        raise failure from error


def _failure(url: str, what: str, error: Exception) -> Failure:
    if (response := _response(error)) is not None:
        return _by_status(response, what)
    if (outage := network.outage(SYSTEM, url, error)) is not None:
        return outage
    match error:
        case requests.exceptions.SSLError():
            return InvalidConfiguration(SYSTEM, "and we do not accept each other's TLS certificates")
        case requests.exceptions.JSONDecodeError() | LookupError() | TypeError():
            return Answered(SYSTEM, "gave an answer that is not the Engine API's")
        case requests.ConnectionError() | OSError():
            return Outage(SYSTEM, f"cannot be reached at {url}", way_out="systemctl status docker")
        case _:
            return InvalidConfiguration(SYSTEM, f"cannot be called at {url} with the settings given")


def _response(error: BaseException) -> requests.Response | None:
    """The answer behind an error; the SDK trips over an error body without `message` and hides it in the context."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, requests.HTTPError) and link.response is not None:
            return link.response
        link = link.__cause__ or link.__context__
    return None


def _by_status(response: requests.Response, what: str) -> Failure:
    """The daemon's own words can repeat what was sent, environment included: they stay in the cause."""
    status = response.status_code
    if status == 429 or status >= 500:
        wait = network.retry_after(response.headers.get("Retry-After"))
        return Outage.status(SYSTEM, status, retry_after=wait)
    kind, words = _ANSWERS.get(status, (Answered, f"did not carry out what was asked of {what} (HTTP {status})"))
    return kind(SYSTEM, words.format(what=what))


_ANSWERS: dict[int, tuple[type[Failure], str]] = {
    400: (Validation, "finds the {what} wrong (HTTP 400)"),
    401: (InvalidCredentials, "does not accept our credentials: 401 Unauthorized"),
    403: (PermissionDenied, "does not let us use the {what} (HTTP 403)"),
    404: (Missing, "does not know the {what} (HTTP 404)"),
    409: (Conflict, "says the {what} is taken at the moment (HTTP 409)"),
    422: (Validation, "finds the {what} wrong (HTTP 422)"),
}
