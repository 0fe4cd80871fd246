"""Stripe's errors as failures, by exception type, status and code (Stripe API, Errors)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import stripe

from tenant_pipelines.adapters.network import outage, retry_after
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

SYSTEM = "Stripe"

_CARD = "Have the customer's payment method replaced in Stripe"
_SHOWN = re.compile(r"[A-Za-z0-9_\[\]]{1,80}")


@contextmanager
def asking(url: str, what: str, *, write: bool = False) -> Iterator[None]:
    """Turn what the client library raises into a failure about `what`; `write` when the request was to change it."""
    try:
        yield
    except stripe.StripeError as error:
        failure = _failure(error, url, what)
        failure.lost = failure.lost and write
        raise failure from error


def replayed(error: BaseException | None) -> bool:
    """Whether this error is the saved answer to an earlier request with the same idempotency key."""
    return isinstance(error, stripe.StripeError) and (error.headers or {}).get("Idempotent-Replayed") == "true"


def is_gone(error: stripe.InvalidRequestError) -> bool:
    """Whether the object named in the path does not exist."""
    return error.http_status == 404


def _failure(error: stripe.StripeError, url: str, what: str) -> Failure:
    if isinstance(error, stripe.APIConnectionError):
        return _unreachable(error, url)
    if _code(error) == "lock_timeout":  # a 429 that is about one object and not about our rate
        return LockHeld(SYSTEM, f"holds {what} for another request (HTTP {error.http_status})")
    if isinstance(error, stripe.RateLimitError):  # a 400 once, long ago
        return Outage.status(SYSTEM, 429, retry_after=retry_after((error.headers or {}).get("Retry-After")))
    if (error.http_status or 0) >= 500:
        return Outage.status(SYSTEM, error.http_status or 500)
    return _answered(error, url, what)


def _answered(error: stripe.StripeError, url: str, what: str) -> Failure:
    detail = _detail(error)
    if _is_about_a_key(error):
        way_out = "Wait a minute"
        return LockHeld(SYSTEM, f"works on another request for {what} {detail}", way_out=way_out)
    if error.http_status == 404 or _code(error) == "resource_missing":
        return ResourceNotFound(SYSTEM, f"does not find {what}, or what it refers to {detail}")
    match error.http_status:
        case 401:
            way_out = f"Try the API key with: curl {url}/v1/customers -u KEY: ; set one that works, then restart"
            return InvalidCredentials(SYSTEM, "answered 401 Unauthorized: the API key is not accepted", way_out=way_out)
        case 403:
            way_out = "Let the API key write customers and subscriptions and read prices"
            return PermissionDenied(SYSTEM, f"does not allow our API key to touch {what} {detail}", way_out=way_out)
        case 400 | 402 | 422:
            return Validation(
                SYSTEM,
                f"does not accept {what} {detail}",
                way_out=_CARD if isinstance(error, stripe.CardError) else None,
            )
        case _:
            return Answered(SYSTEM, f"did not handle {what} {detail}")


def _is_about_a_key(error: stripe.StripeError) -> bool:
    """The key's first request is still running (409), or had other parameters (the tenant was changed since)."""
    return isinstance(error, stripe.IdempotencyError) or _code(error) == "idempotency_key_in_use"


def _unreachable(error: stripe.APIConnectionError, url: str) -> Failure:
    found = outage(SYSTEM, url, error)
    if found is not None:
        return found
    if isinstance(error.__cause__, requests.exceptions.SSLError | ValueError):
        what = f"cannot be reached: its address or its certificate is wrong ({type(error.__cause__).__name__})"
        return InvalidConfiguration(SYSTEM, what, way_out=f"Check the address {url}")
    return Outage(SYSTEM, f"cannot be reached ({type(error.__cause__).__name__})", lost=True)


def _code(error: stripe.StripeError) -> str | None:
    """Stripe's short word; the library keeps it for some of its exceptions only."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    inner = body.get("error")
    return inner.get("code") if isinstance(inner, dict) else None


def _detail(error: stripe.StripeError) -> str:
    """Status, code and parameter: words of the protocol, never what Stripe writes for people."""
    words = (_code(error), getattr(error, "param", None))
    shown = [word for word in words if isinstance(word, str) and _SHOWN.fullmatch(word)]
    return f"({', '.join([f'HTTP {error.http_status}', *shown])})"
