"""`POST /webhooks/app-plane`: the app plane's confirmation, signed as Standard Webhooks say.

Verified on the raw bytes before anything is parsed; twice or late is 202 all the same (the contract, REST).
"""

import json
from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError, WebhookVerificationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import uuid_of
from tenant_pipelines.operations.signal import CONFIRMED, signal
from tenant_pipelines.rest.errors import answer, refuse
from tenant_pipelines.settings import InvalidSettings

BIGGEST = 64 * 1024
"""Bytes of a webhook's body."""


class AppPlaneWebhook:
    """The route's handler.

    Args: secret: `whsec_…`, signs what the app plane sends.
    Raises: InvalidSettings when there is no key in it: whoever can reach us could sign then.
    """

    def __init__(self, desk: Desk, secret: str) -> None:
        self._desk = desk
        try:
            self._webhook = Webhook(secret)
        except (EmptyWebhookSecretError, ValueError) as error:
            raise InvalidSettings(
                "TENANT_PIPELINES_APP_PLANE_SIGNAL_SECRET: must be whsec_ and a key in base64"
            ) from error

    async def __call__(self, request: Request) -> Response:
        """202 once the signal is recorded."""
        body = await _body(request)
        if body is None:
            return answer(413, "PayloadTooLarge", "INVALID", f"The body is larger than {BIGGEST} bytes.")
        try:
            self._webhook.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return answer(401, "Unauthorized", "UNAUTHORIZED", "The signature is missing, wrong or too old.")
        try:
            payload = _parsed(body)
            await run_in_threadpool(self._deliver, payload, request.headers["webhook-id"])
        except Refused as refused:
            return refuse(refused)
        return JSONResponse({"accepted": True}, status_code=202)

    def _deliver(self, payload: Mapping[str, Any], webhook_id: str) -> None:
        tenant_id = uuid_of(payload.get("tenantId"))
        given = {name: value for name, value in payload.items() if name != "tenantId"}
        claimant = Claimant("app-plane", "rest", request_id=webhook_id[:200])
        signal(self._desk, tenant_id, CONFIRMED, given, key=webhook_id[:200], claimant=claimant)


async def _body(request: Request) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BIGGEST:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise Refused(Code.INVALID, "The body must be a JSON object.")
    return payload
