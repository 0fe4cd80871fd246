"""Network faults of every client library, by exception type, as one of the outages of `domain.failures`."""

import http.client
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import requests
import urllib3.exceptions

from tenant_pipelines.domain.failures import Outage

_NOT_SENT_IN_TIME = (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError, httpx.ConnectTimeout)
_TIMED_OUT = (
    TimeoutError,
    requests.Timeout,
    urllib3.exceptions.ReadTimeoutError,
    httpx.TimeoutException,
)
_DROPPED = (
    ConnectionError,
    http.client.RemoteDisconnected,
    http.client.IncompleteRead,
    urllib3.exceptions.ProtocolError,
    httpx.RemoteProtocolError,
    httpx.ReadError,
    httpx.WriteError,
    requests.exceptions.ChunkedEncodingError,
)


def outage(system: str, url: str, error: BaseException) -> Outage | None:
    """The outage behind an error, found in the error itself or anywhere in its chain; None when there is none.

    Args: url: where the system was called; only its host and port are used.
    """
    parts = urlsplit(url)
    host = parts.hostname or url
    port = parts.port or (443 if parts.scheme == "https" else 80)
    chain = list(_chain(error))
    # urllib3 (and requests above it) makes a refused connection and an unknown name kinds of a connect time-out.
    if _any(chain, (ConnectionRefusedError,)):
        return Outage.refused(system, host, port)
    if _any(chain, (socket.gaierror,)):
        return Outage(system, f"cannot be reached: the name {host} does not resolve")
    if _any(chain, _NOT_SENT_IN_TIME):
        return Outage.timed_out(system, host, port, sent=False)
    if _any(chain, _TIMED_OUT):
        return Outage.timed_out(system, host, port)
    if _any(chain, _DROPPED):
        return Outage.dropped(system, host, port)
    return None


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header in its number form, at most an hour; None for anything else (RFC 9110)."""
    if value is None or not value.strip().isdigit():
        return None
    return min(float(value), 3600.0)


def _any(chain: list[BaseException], kinds: tuple[type[BaseException], ...]) -> bool:
    return any(isinstance(link, kinds) for link in chain)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, and what client libraries hide in `args` and `reason`."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        link = todo.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
