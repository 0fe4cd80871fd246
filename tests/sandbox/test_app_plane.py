"""The stand-in of the app plane: whom it believes, what it keeps, and how it confirms."""

import json
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import app_plane
from sandbox.app_plane import AppPlane
from sandbox.serving import running
from sandbox.store import Store
from tenant_pipelines.domain.call import Mark

INBOUND = "whsec_aW5ib3VuZC1zZWNyZXQtZm9yLXRlc3Rz"
OUTBOUND = "whsec_b3V0Ym91bmQtc2VjcmV0LWZvci10ZXN0cw=="
PROVISIONED = "/webhooks/tenant-provisioned"
DEPROVISIONED = "/webhooks/tenant-deprovisioned"


@dataclass
class Plane:
    """A running stand-in."""

    url: str

    def post(self, body: bytes, *, path: str = PROVISIONED, **headers: str) -> httpx.Response:
        return httpx.post(self.url + path, content=body, headers={**signed(body), **headers})

    def organizations(self, tenant: str | None = None) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/_sandbox/state", params={"tenant": tenant} if tenant else {})
        found: list[dict[str, Any]] = answer.json()["objects"]
        return found

    def fault(self, mode: str, operation: str = "CONFIRM") -> None:
        faults = [{"operation": operation, "mode": mode, "times": 1}]
        httpx.put(f"{self.url}/_sandbox/faults", json=faults).raise_for_status()


def signed(body: bytes, *, key: str = "msg-1", secret: str = INBOUND, age: float = 0) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "content-type": "application/json",
        "webhook-id": key,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, at, body.decode()),
    }


def message(mark: Mark, kind: str = "tenant.provisioned") -> bytes:
    data = {"tenantId": mark.tenant_id, "tenantKey": mark.tenant_key, "adminUser": {"email": "ann@acme.example"}}
    return json.dumps({"type": kind, "data": data}).encode()


class Confirmed:
    """Receives confirmations; answers with the statuses given, then 202."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.statuses: list[int] = []

    def app(self) -> Starlette:
        async def take(request: Request) -> Response:
            self.arrived.put((dict(request.headers), await request.body()))
            return Response(status_code=self.statuses.pop(0) if self.statuses else 202)

        return Starlette(routes=[Route("/confirm", take, methods=["POST"])])

    def next(self) -> tuple[str, dict[str, Any]]:
        """The webhook-id and the body of the next one, its signature checked."""
        headers, body = self.arrived.get(timeout=10)
        return headers["webhook-id"], Webhook(OUTBOUND).verify(body, headers)


Start = Callable[..., AbstractContextManager[Plane]]


@pytest.fixture
def confirmed() -> Confirmed:
    return Confirmed()


@pytest.fixture
def start(confirmed: Confirmed) -> Iterator[Start]:
    """Starts a stand-in that confirms at once."""
    with running(confirmed.app()) as receiver:

        @contextmanager
        def starting(store: Store | None = None, **changes: Any) -> Iterator[Plane]:
            settings: dict[str, Any] = {
                "confirm_url": f"http://127.0.0.1:{receiver}/confirm",
                "confirm_after": 0.01,
                "first_pause": 0.01,
            }
            plane = AppPlane(store, inbound_secret=INBOUND, outbound_secret=OUTBOUND, **(settings | changes))
            with running(plane.app()) as port:
                yield Plane(f"http://127.0.0.1:{port}")

        yield starting


@pytest.fixture
def plane(start: Start) -> Iterator[Plane]:
    with start() as one:
        yield one


@pytest.fixture(scope="module")
def strict() -> Iterator[Plane]:
    """One stand-in for the tests in which it takes nothing."""
    plane = AppPlane(inbound_secret=INBOUND, outbound_secret=OUTBOUND, confirm_url=None)
    with running(plane.app()) as port:
        yield Plane(f"http://127.0.0.1:{port}")


def test_makes_the_organization_and_confirms_it_signed(plane: Plane, confirmed: Confirmed, mark: Mark) -> None:
    answer = plane.post(message(mark))
    key, body = confirmed.next()

    assert answer.status_code == 202
    assert plane.organizations() == [{"kind": "organization", "id": mark.tenant_id, "name": "acme", "ours": True}]
    assert key == "confirm-msg-1"
    assert body == {
        "tenantId": mark.tenant_id,
        "organizationId": answer.json()["organizationId"],
        "adminUserId": answer.json()["adminUserId"],
        "success": True,
    }


def test_the_same_message_is_taken_once_and_confirmed_once(
    plane: Plane, confirmed: Confirmed, mark: Mark, neighbour: Mark
) -> None:
    first = plane.post(message(mark)).json()
    confirmed.next()
    second = plane.post(message(mark)).json()
    plane.post(message(neighbour), **signed(message(neighbour), key="msg-2"))

    assert second == first | {"duplicate": True}
    assert confirmed.next()[0] == "confirm-msg-2"
    assert [found["name"] for found in plane.organizations()] == ["acme", "neighbour"]
    assert [found["name"] for found in plane.organizations("acme")] == ["acme"]


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,not base64"},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-id": "another"},
        {"webhook-timestamp": "0"},
        {"webhook-timestamp": "yesterday"},
        {"secret": "whsec_d3Jvbmc="},
        {"age": "301"},
        {"age": "-302"},
    ],
    ids=str,
)
def test_nobody_else_is_believed(strict: Plane, mark: Mark, headers: dict[str, str]) -> None:
    body = message(mark)
    changes = dict(headers)
    base = signed(body, secret=changes.pop("secret", INBOUND), age=float(changes.pop("age", "0")))

    answer = httpx.post(strict.url + PROVISIONED, content=body, headers=base | changes)

    assert answer.status_code == 401
    assert answer.json() == {"success": False, "error": "the signature is missing, wrong or too old"}
    assert strict.organizations() == []


def test_the_signature_covers_the_very_bytes(strict: Plane, mark: Mark) -> None:
    body = message(mark)

    answer = httpx.post(strict.url + PROVISIONED, content=body.replace(b": ", b":"), headers=signed(body))

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"type": "tenant.provisioned", "data": null}',
        b'{"type": "tenant.provisioned", "data": {"tenantId": "acme", "tenantKey": "acme"}}',
        b'{"type": "tenant.provisioned", "data": {"tenantId": "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11"}}',
        b'{"type": "tenant.deprovisioned", "data":'
        b' {"tenantId": "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "tenantKey": "acme"}}',
    ],
)
def test_a_message_of_another_form_is_refused(strict: Plane, body: bytes) -> None:
    assert strict.post(body).status_code == 422
    assert strict.organizations() == []


def test_other_ways_to_call_it_are_refused(strict: Plane, mark: Mark) -> None:
    assert strict.post(message(mark), **{"content-type": "text/plain"}).status_code == 415
    assert httpx.get(strict.url + PROVISIONED).status_code == 405
    assert httpx.post(f"{strict.url}/webhooks/other").status_code == 404


def test_the_organization_is_removed_by_its_tenant(plane: Plane, mark: Mark, neighbour: Mark) -> None:
    plane.post(message(mark))
    plane.post(message(neighbour), **signed(message(neighbour), key="msg-2"))
    gone = message(mark, "tenant.deprovisioned")

    first = plane.post(gone, path=DEPROVISIONED)
    second = plane.post(gone, path=DEPROVISIONED)

    assert (first.json(), second.json()) == ({"success": True, "removed": True}, {"success": True, "removed": False})
    assert [found["name"] for found in plane.organizations()] == ["neighbour"]


def test_a_confirmation_is_sent_again_until_it_is_taken(plane: Plane, confirmed: Confirmed, mark: Mark) -> None:
    confirmed.statuses = [500, 404, 302]
    plane.post(message(mark))

    sent = [confirmed.next() for _ in range(4)]

    assert sent[1:] == sent[:1] * 3
    with pytest.raises(queue.Empty):
        confirmed.arrived.get(timeout=0.1)


def test_it_gives_up_after_twenty_tries(
    start: Start, confirmed: Confirmed, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_plane, "LONGEST_PAUSE", 0.01)
    confirmed.statuses = [500] * 30
    with start() as plane:
        plane.post(message(mark))
        for _ in range(app_plane.TRIES):
            confirmed.next()
        with pytest.raises(queue.Empty):
            confirmed.arrived.get(timeout=0.2)


def test_what_was_not_confirmed_is_confirmed_after_a_restart(
    start: Start, confirmed: Confirmed, mark: Mark, tmp_path: Path
) -> None:
    first = Store(tmp_path / "app_plane.sqlite")
    with start(first, confirm_after=60) as plane:
        plane.post(message(mark))
    first.close()
    second = Store(tmp_path / "app_plane.sqlite")
    with start(second) as plane:
        assert [found["name"] for found in plane.organizations()] == ["acme"]
        assert confirmed.next()[1]["success"] is True
    second.close()


def test_nothing_is_confirmed_without_an_address_even_if_the_message_names_one(
    start: Start, confirmed: Confirmed, mark: Mark
) -> None:
    with start(confirm_url=None) as plane:
        body = json.loads(message(mark))
        body["data"]["confirmUrl"] = "http://127.0.0.1:1/"
        assert plane.post(json.dumps(body).encode()).status_code == 202
        with pytest.raises(queue.Empty):
            confirmed.arrived.get(timeout=0.2)


# -- the operation CONFIRM of the fault switch --


def test_a_refused_confirmation_is_never_sent(plane: Plane, confirmed: Confirmed, mark: Mark, neighbour: Mark) -> None:
    plane.fault("refuse")
    plane.post(message(mark))
    with pytest.raises(queue.Empty):
        confirmed.arrived.get(timeout=0.2)

    plane.post(message(neighbour), **signed(message(neighbour), key="msg-2"))
    assert confirmed.next()[1]["tenantId"] == neighbour.tenant_id


def test_a_half_done_confirmation_reports_a_failure(plane: Plane, confirmed: Confirmed, mark: Mark) -> None:
    plane.fault("half_done")
    plane.post(message(mark))

    body = confirmed.next()[1]
    assert body["success"] is False
    assert body["error"]


def test_a_confirmation_can_come_twice(plane: Plane, confirmed: Confirmed, mark: Mark) -> None:
    plane.fault("timeout_after")
    plane.post(message(mark))

    assert confirmed.next() == confirmed.next()


def test_a_slow_confirmation_comes_late(
    start: Start, confirmed: Confirmed, mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_plane, "LATE", 0.3)
    with start() as plane:
        plane.fault("slow")
        before = time.monotonic()
        plane.post(message(mark))
        confirmed.next()
    assert time.monotonic() - before >= 0.3


def test_a_half_made_organization_is_completed_by_the_next_message(
    plane: Plane, confirmed: Confirmed, mark: Mark
) -> None:
    plane.fault("half_done", f"POST {PROVISIONED}")

    assert plane.post(message(mark)).status_code == 500
    assert len(plane.organizations()) == 1
    assert "duplicate" not in plane.post(message(mark)).json()
    assert confirmed.next()[1]["adminUserId"]
    assert len(plane.organizations()) == 1
