"""The app plane: told by a signed webhook that a tenant has been provisioned; it confirms later by one of its own.

Source: the Standard Webhooks specification (headers, signature, status codes and what they ask the sender to do).
"""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from tenant_pipelines.adapters import network
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import Failure, InvalidConfiguration, Outage, WebhookRejected
from tenant_pipelines.domain.outcomes import Created, Ensured, ObjectRef
from tenant_pipelines.domain.ports import TenantProvisioned

SYSTEM = "App plane"
PATH = "/webhooks/tenant-provisioned"
BIGGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read at most; the rest says nothing to us."""


@dataclass(frozen=True, slots=True)
class AppPlaneConfig:
    """Where the app plane listens, and how it knows us.

    Args:
        url: its address without the webhook's path (`https://app.example`).
        secret: shared with the app plane, in the form `whsec_` and base64.
        confirm_url: where it shall confirm, told in every message; None where it knows by itself.
    """

    url: str
    secret: str = field(repr=False)
    confirm_url: str | None = None


class AppPlaneWebhook:
    """The app plane as an `AppPlane`. It recognises a message sent twice by its webhook-id, which is the call's key."""

    def __init__(self, config: AppPlaneConfig) -> None:
        self._config = config
        self._url = config.url.rstrip("/") + PATH
        if not _is_web_address(self._url):
            raise InvalidConfiguration(SYSTEM, "cannot be told: the webhook's URL is not an http or https address")
        try:
            self._webhook = Webhook(config.secret)
        except (ValueError, EmptyWebhookSecretError):  # the text of it could repeat the secret
            what = "cannot be told: the webhook's secret is not whsec_ with base64 behind it"
            raise InvalidConfiguration(SYSTEM, what) from None

    def notify(self, *, event: TenantProvisioned, call: Call) -> Ensured:
        """Send `tenant.provisioned`; done when the app plane answers 2xx."""
        now = datetime.now(UTC)
        body = json.dumps(_message(event, now, self._config.confirm_url), ensure_ascii=False, separators=(",", ":"))
        headers = {
            "content-type": "application/json",
            "webhook-id": call.key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(call.key, now, body),
        }
        status, answer = self._post(body.encode(), headers, call)
        organization = _organization(answer) or event.tenant_id
        ref = ObjectRef("app_plane", "organization", event.tenant_key, organization)
        return Created(ref, {"status": str(status), "webhookId": call.key})

    def _post(self, body: bytes, headers: dict[str, str], call: Call) -> tuple[int, bytes]:
        seconds = call.before_write()
        try:
            with (
                httpx.Client(timeout=seconds, trust_env=False, follow_redirects=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                if not response.is_success:
                    raise _refusal(response)
                return response.status_code, _read(response, time.monotonic() + seconds)
        except httpx.HTTPError as error:
            raise self._broken(error) from error

    def _broken(self, error: httpx.HTTPError) -> Failure:
        found = network.outage(SYSTEM, self._url, error)
        sent = not isinstance(error, httpx.ConnectError)
        return found or Outage(SYSTEM, f"cannot be reached ({type(error).__name__})", lost=sent)


def _is_web_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host)


def _message(event: TenantProvisioned, now: datetime, confirm_url: str | None) -> dict[str, Any]:
    """The body as the app plane reads it; what is not known is left out."""
    admin = {"email": event.admin_email, "firstName": event.admin_first_name, "lastName": event.admin_last_name}
    data = {
        "tenantId": event.tenant_id,
        "tenantKey": event.tenant_key,
        "tenantName": event.tenant_name,
        "planId": event.plan_id,
        "tier": event.tier,
        "workflowId": event.workflow_id,
        "adminUser": _known(admin) if event.admin_email else None,
        "organizationId": event.organization_id,
        "confirmUrl": confirm_url,
    }
    return {"type": "tenant.provisioned", "timestamp": now.isoformat(timespec="seconds"), "data": _known(data)}


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _refusal(response: httpx.Response) -> Failure:
    """408, 429 and 5xx pass; everything else that is not 2xx is final, a redirect too (we follow none)."""
    status = response.status_code
    if status >= 500 or status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}:
        return Outage.status(SYSTEM, status, retry_after=network.retry_after(response.headers.get("retry-after")))
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "an unknown status"
    way_out = {
        401: "give both sides the same webhook secret and set both clocks",
        410: "the app plane takes this webhook no longer: correct its URL in the settings",
    }.get(status)
    return WebhookRejected(SYSTEM, f"rejected the webhook: {status} {phrase}", way_out=way_out)


def _read(response: httpx.Response, deadline: float) -> bytes:
    """The beginning of the answer; one that dribbles in is left after the deadline, it was a 2xx in any case."""
    received = b""
    for chunk in response.iter_bytes():
        received += chunk
        if len(received) > BIGGEST_ANSWER or time.monotonic() > deadline:
            break
    return received[:BIGGEST_ANSWER]


def _organization(answer: bytes) -> str | None:
    """The app plane's own id of the organization, where its answer is JSON and names one."""
    try:
        body = json.loads(answer)
    except ValueError:
        return None
    found = body.get("organizationId") if isinstance(body, dict) else None
    return found if isinstance(found, str) and len(found) <= 200 else None
