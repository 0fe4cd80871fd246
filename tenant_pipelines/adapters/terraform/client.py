"""One Terraform Cloud over the wire: each request with its own time-out, each error translated once."""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pytfe import TFEClient, TFEConfig
from pytfe.errors import TFEError

from tenant_pipelines.adapters.network import retry_after
from tenant_pipelines.adapters.terraform.failures import UNREADABLE, of_status, translated
from tenant_pipelines.adapters.terraform.logs import tail
from tenant_pipelines.adapters.terraform.settings import TerraformSettings
from tenant_pipelines.domain.call import Call

T = TypeVar("T")

_CAUGHT = (TFEError, httpx.HTTPError, httpx.InvalidURL, *UNREADABLE)


class Api:
    """Asks Terraform Cloud through its official client.

    The client's time-out belongs to the client object, so there is one of them per time-out, in whole seconds (below
    one: tenths); nearly always that is a single one. Signed URLs (uploads, logs) are asked without our token.
    """

    def __init__(self, settings: TerraformSettings) -> None:
        self.settings = settings
        self._lock = Lock()
        self._clients: dict[float, TFEClient] = {}
        self._signed: httpx.Client | None = None

    def read(self, call: Call, ask: Callable[[TFEClient], T]) -> T:
        """What `ask` answers; it must not answer one of the client's lazy iterators."""
        return self._translated(lambda seconds: ask(self._client(seconds)), call.seconds_left(), write=False)

    def write(self, call: Call, ask: Callable[[TFEClient], T]) -> T:
        """The same for a request that changes something: the fence is asked first."""
        return self._translated(lambda seconds: ask(self._client(seconds)), call.before_write(), write=True)

    def document(self, call: Call, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON:API document as it came, for what the client's models do not accept from newer servers."""

        def ask(tfe: TFEClient) -> dict[str, Any]:
            found = tfe.runs.t.request("GET", path, params=params).json()
            if not isinstance(found, dict):
                raise TypeError("not a JSON:API document")
            return found

        return self.read(call, ask)

    def upload(self, call: Call, url: str, content: bytes) -> None:
        """Put a configuration at its signed URL."""

        def put(seconds: float) -> httpx.Response:
            headers = {"Content-Type": "application/octet-stream"}
            return self._plain().put(url, content=content, headers=headers, timeout=seconds)

        answer = self._translated(put, call.before_write(), write=True, address=_server(url))
        _check(answer, write=True)

    def log_tail(self, call: Call, url: str) -> list[str]:
        """The last lines of the log at its signed URL, without secrets."""

        def get(seconds: float) -> list[str]:
            with self._plain().stream("GET", url, timeout=seconds) as answer:
                _check(answer, write=False)
                return tail(answer.iter_lines(), secrets=[self.settings.token])

        return self._translated(get, call.seconds_left(), write=False, address=_server(url))

    def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
            if self._signed is not None:
                self._signed.close()
                self._signed = None

    def _translated(self, ask: Callable[[float], T], seconds: float, *, write: bool, address: str = "") -> T:
        try:
            return ask(seconds)
        except _CAUGHT as error:
            raise translated(error, address or self.settings.address, write=write) from error

    def _client(self, seconds: float) -> TFEClient:
        timeout = float(int(seconds)) if seconds >= 1 else max(0.1, round(seconds, 1))
        with self._lock:
            if timeout not in self._clients:
                self._clients[timeout] = self._new(timeout)
            return self._clients[timeout]

    def _new(self, timeout: float) -> TFEClient:
        """Everything is given: what is left out, the client takes from variables of the environment."""
        return TFEClient(
            TFEConfig(
                address=self.settings.address,
                token=self.settings.token,
                timeout=timeout,
                verify_tls=True,
                max_retries=0,
                http2=False,
                proxies=None,
                ca_bundle=None,
            )
        )

    def _plain(self) -> httpx.Client:
        with self._lock:
            if self._signed is None:
                self._signed = httpx.Client(follow_redirects=True)
            return self._signed


def _server(url: str) -> str:
    """The server of a signed URL: the rest of it is a secret, and in httpx's own errors (so those are not raised)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _check(answer: httpx.Response, *, write: bool) -> None:
    if not answer.is_success:
        raise of_status(answer.status_code, write=write, wait=retry_after(answer.headers.get("Retry-After")))
