"""The health check of S3 (`/minio/health/ready`), and the one signed request that it and the set-up need."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from botocore import auth, awsrequest
from botocore import credentials as keys
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox.stack.names import REGION

_auth: Any = auth
_awsrequest: Any = awsrequest
_keys: Any = keys

PATIENCE = 3.0
"""Seconds that S3 may take for its answer."""


class S3:
    """An S3 server, asked with its administrator's key.

    Args: url: of the server, or of the proxy before it.
    """

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self._url = url
        self._key = _keys.Credentials(access_key, secret_key)

    async def status(self, method: str, path: str = "/") -> int | None:
        """The status code of one signed request without a body; None when there is no answer."""
        request = _awsrequest.AWSRequest(method=method, url=f"{self._url}{path}")
        _auth.S3SigV4Auth(self._key, "s3", REGION).add_auth(request)
        with contextlib.suppress(httpx.HTTPError):
            async with _client() as client:
                answer = await client.request(method, request.url, headers=dict(request.headers.items()))
                return answer.status_code
        return None


@contextlib.asynccontextmanager
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
        yield client


def app(s3: S3) -> ASGIApp:
    """200 while a signed ListBuckets succeeds, else 503."""

    async def ready(_: Request) -> Response:
        return Response(status_code=200 if await s3.status("GET") == 200 else 503)

    async def live(_: Request) -> Response:
        return PlainTextResponse("")

    return Starlette(
        routes=[
            Route("/minio/health/ready", ready, methods=["GET", "HEAD"]),
            Route("/minio/health/live", live, methods=["GET", "HEAD"]),
        ]
    )
