"""The contract of the app-plane adapter, over a real socket.

TENANT_PIPELINES_TEST_APP_PLANE_URL and TENANT_PIPELINES_TEST_APP_PLANE_SECRET put a real app plane in the place of the
stand-in; what needs the fault switch or the stand-in's memory is skipped then.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sandbox.app_plane import AppPlane as StandIn
from sandbox.serving import running
from tenant_pipelines.adapters.app_plane import AppPlaneConfig, AppPlaneWebhook
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import InvalidConfiguration, Outage, WebhookRejected
from tenant_pipelines.domain.outcomes import Created, ObjectRef
from tenant_pipelines.domain.ports import AppPlane, TenantProvisioned
from tests.conftest import Fence, FenceLowered

MakeCall = Callable[..., Call]
INBOUND = "whsec_aW5ib3VuZC1zZWNyZXQtZm9yLXRlc3Rz"
OUTBOUND = "whsec_b3V0Ym91bmQtc2VjcmV0LWZvci10ZXN0cw=="
REAL = os.environ.get("TENANT_PIPELINES_TEST_APP_PLANE_URL")
needs_the_switch = pytest.mark.skipif(REAL is not None, reason="a real app plane has no fault switch")


@dataclass(frozen=True)
class Plane:
    """Where the app plane is, and what can be asked of the stand-in."""

    config: AppPlaneConfig
    adapter: AppPlaneWebhook = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adapter", AppPlaneWebhook(self.config))

    def faults(self, *faults: dict[str, Any]) -> None:
        httpx.put(f"{self.config.url}/_sandbox/faults", json=list(faults)).raise_for_status()

    def objects(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.config.url}/_sandbox/state").json()["objects"]
        return found


@pytest.fixture
def plane() -> Iterator[Plane]:
    if REAL is not None:
        yield Plane(AppPlaneConfig(REAL, os.environ["TENANT_PIPELINES_TEST_APP_PLANE_SECRET"]))
        return
    stand_in = StandIn(inbound_secret=INBOUND, outbound_secret=OUTBOUND, confirm_url=None)
    with running(stand_in.app()) as port:
        yield Plane(AppPlaneConfig(f"http://127.0.0.1:{port}", INBOUND))


@pytest.fixture
def event(mark: Mark) -> TenantProvisioned:
    return _event(mark)


def _event(mark: Mark) -> TenantProvisioned:
    return TenantProvisioned(
        tenant_id=mark.tenant_id,
        tenant_key=mark.tenant_key,
        tenant_name="Acmé & Söhne",
        plan_id="plan-basic",
        tier="pooled",
        workflow_id=f"provision-tenant-{mark.tenant_id}",
        admin_email="ann@acme.example",
        admin_first_name="Ann",
        admin_last_name="Ö",
        organization_id="org-1",
    )


def organization(mark: Mark) -> dict[str, Any]:
    return {"kind": "organization", "id": mark.tenant_id, "name": mark.tenant_key, "ours": True}


def test_the_app_plane_is_told_and_makes_the_organization(
    plane: Plane, event: TenantProvisioned, call: MakeCall
) -> None:
    outcome = plane.adapter.notify(event=event, call=call(key="the-key"))

    assert isinstance(outcome, Created)
    assert outcome.ref == ObjectRef("app_plane", "organization", "acme", event.tenant_id)
    assert outcome.facts == {"status": "202", "webhookId": "the-key"}


@needs_the_switch
def test_telling_it_twice_makes_nothing_twice_and_touches_nobody_else(
    plane: Plane, mark: Mark, neighbour: Mark, call: MakeCall
) -> None:
    plane.adapter.notify(event=_event(neighbour), call=call(key="neighbour"))
    first = plane.adapter.notify(event=_event(mark), call=call())
    second = plane.adapter.notify(event=_event(mark), call=call())

    assert first.ref == second.ref
    assert plane.objects() == [organization(neighbour), organization(mark)]


@needs_the_switch
@pytest.mark.parametrize(
    "mode", ["timeout_before", "timeout_after", "late_effect", "half_done", "server_error", "refuse"]
)
def test_after_a_fault_the_next_attempt_heals(
    plane: Plane, event: TenantProvisioned, mark: Mark, call: MakeCall, mode: str
) -> None:
    plane.faults({"operation": "POST /webhooks/tenant-provisioned", "mode": mode, "times": 1, "tenant": "acme"})

    with pytest.raises(Outage) as failed:
        plane.adapter.notify(event=event, call=call(seconds=0.5))
    again = plane.adapter.notify(event=event, call=call())

    assert failed.value.lost
    assert failed.value.system == "App plane"
    assert isinstance(again, Created)
    assert plane.objects() == [organization(mark)]


@needs_the_switch
def test_a_rate_limit_is_an_outage_with_its_pause(plane: Plane, event: TenantProvisioned, call: MakeCall) -> None:
    plane.faults({"operation": "*", "mode": "rate_limited", "times": 1})

    with pytest.raises(Outage, match="429") as failed:
        plane.adapter.notify(event=event, call=call())

    assert (failed.value.retry_after, failed.value.lost) == (1.0, False)


def test_a_wrong_secret_is_rejected_for_good_and_shown_nowhere(
    plane: Plane, event: TenantProvisioned, call: MakeCall
) -> None:
    wrong = "whsec_d3JvbmctNXNlY3JldA=="
    adapter = AppPlaneWebhook(replace(plane.config, secret=wrong))

    with pytest.raises(WebhookRejected, match=r"^App plane rejected the webhook: 401 Unauthorized$") as failed:
        adapter.notify(event=event, call=call())

    assert "webhook secret" in (failed.value.way_out or "")
    assert wrong[6:] not in f"{failed.value!r} {failed.value.way_out} {replace(plane.config, secret=wrong)!r}"


def test_the_fence_is_asked_before_the_message_and_stops_it(
    plane: Plane, event: TenantProvisioned, call: MakeCall, fence: Fence
) -> None:
    fence.lowered = True
    with pytest.raises(FenceLowered):
        plane.adapter.notify(event=event, call=call())

    assert fence.asked == 1
    if REAL is None:
        assert plane.objects() == []


# -- what arrives, and what other app planes may answer --


class Receiver:
    """Keeps what it was sent and answers as told."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[Request, bytes]] = []
        self.response = Response()

    def app(self) -> Starlette:
        async def take(request: Request) -> Response:
            self.requests.append((request, await request.body()))
            return self.response

        return Starlette(routes=[Route("/{path:path}", take, methods=["GET", "POST"])])

    def adapter(self, *, confirm_url: str | None = None) -> AppPlaneWebhook:
        return AppPlaneWebhook(AppPlaneConfig(self.url, INBOUND, confirm_url))


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    receiver = Receiver()
    with running(receiver.app()) as port:
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver


@pytest.fixture
def receiver(listening: Receiver) -> Receiver:
    """A server that answers 200 until it is told otherwise."""
    listening.requests, listening.response = [], Response()
    return listening


def test_the_message_is_the_documented_one_and_leaves_out_what_is_unknown(
    receiver: Receiver, event: TenantProvisioned, call: MakeCall
) -> None:
    unknown = replace(event, plan_id=None, admin_email=None, organization_id=None)
    told = receiver.adapter(confirm_url="https://api.example/webhooks/app-plane")
    told.notify(event=event, call=call(key="6f2b:1:x"))
    receiver.adapter().notify(event=unknown, call=call())

    (request, body), (_, second) = receiver.requests
    message = httpx.Response(200, content=body).json()
    assert message["type"] == "tenant.provisioned"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", message["timestamp"])
    assert message["data"] == {
        "tenantId": event.tenant_id,
        "tenantKey": "acme",
        "tenantName": "Acmé & Söhne",
        "planId": "plan-basic",
        "tier": "pooled",
        "workflowId": event.workflow_id,
        "adminUser": {"email": "ann@acme.example", "firstName": "Ann", "lastName": "Ö"},
        "organizationId": "org-1",
        "confirmUrl": "https://api.example/webhooks/app-plane",
    }
    assert request.url.path == "/webhooks/tenant-provisioned"
    assert request.headers["webhook-id"] == "6f2b:1:x"
    assert request.headers["content-type"] == "application/json"
    known = httpx.Response(200, content=second).json()["data"]
    assert set(known) == {"tenantId", "tenantKey", "tenantName", "tier", "workflowId"}


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 409, 410, 422, 451, 499])
def test_what_is_not_2xx_and_cannot_pass_is_final(
    receiver: Receiver, event: TenantProvisioned, call: MakeCall, status: int
) -> None:
    receiver.response = Response("tenant neighbour " * 5000, status_code=status)

    with pytest.raises(WebhookRejected, match=f"rejected the webhook: {status} ") as failed:
        receiver.adapter().notify(event=event, call=call())

    assert "neighbour" not in str(failed.value)


def test_a_redirect_is_not_followed(receiver: Receiver, event: TenantProvisioned, call: MakeCall) -> None:
    receiver.response = RedirectResponse("/elsewhere", status_code=308)

    with pytest.raises(WebhookRejected, match="308"):
        receiver.adapter().notify(event=event, call=call())

    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_an_outage(receiver: Receiver, event: TenantProvisioned, call: MakeCall, status: int) -> None:
    receiver.response = Response(status_code=status, headers={"retry-after": "7"})

    with pytest.raises(Outage, match=f"HTTP {status}") as failed:
        receiver.adapter().notify(event=event, call=call())

    assert failed.value.retry_after == 7


@pytest.mark.parametrize(
    ("body", "identifier"),
    [
        (b'{"organizationId": "org-9"}', "org-9"),
        (b"{}", None),
        (b"[]", None),
        (b'{"organizationId": 9}', None),
        (b"\xff\xfe not JSON", None),
        (b"x" * 200_000, None),
    ],
)
def test_any_answer_with_2xx_is_taken(
    receiver: Receiver, event: TenantProvisioned, call: MakeCall, body: bytes, identifier: str | None
) -> None:
    receiver.response = Response(body)

    assert receiver.adapter().notify(event=event, call=call()).ref.id == (identifier or event.tenant_id)


def test_a_dead_port_is_a_refusal(event: TenantProvisioned, call: MakeCall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]

    with pytest.raises(Outage, match=re.escape(f"Connection refused (ECONNREFUSED) 127.0.0.1:{port}")) as failed:
        AppPlaneWebhook(AppPlaneConfig(f"http://127.0.0.1:{port}", INBOUND)).notify(event=event, call=call())

    assert not failed.value.lost


@pytest.mark.parametrize("url", ["", "app.example", "ftp://app.example", "file:///etc/passwd", "http://", "http://[::"])
def test_a_url_that_is_none_is_found_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidConfiguration, match="URL"):
        AppPlaneWebhook(AppPlaneConfig(url, INBOUND))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_a", "whsec_ü-not-base64"])
def test_a_secret_that_is_none_is_not_repeated(secret: str) -> None:
    with pytest.raises(InvalidConfiguration, match="whsec_ with base64") as failed:
        AppPlaneWebhook(AppPlaneConfig("http://127.0.0.1", secret))

    assert failed.value.__suppress_context__


def test_the_adapter_is_an_app_plane() -> None:
    typed: AppPlane = AppPlaneWebhook(AppPlaneConfig("http://127.0.0.1", INBOUND))
    assert INBOUND not in repr(vars(typed))
