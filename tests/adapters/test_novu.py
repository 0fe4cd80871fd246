"""The contract of the Novu adapter, with the real client library over a real socket.

Against Novu itself: TENANT_PIPELINES_TEST_NOVU_URL and TENANT_PIPELINES_TEST_NOVU_KEY, in an environment that has
the workflows of the sandbox; the tests that need the fault switch, or look into the inbox, are skipped then.
"""

import os
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.novu import Novu as StandIn
from sandbox.serving import running
from tenant_pipelines.adapters.novu import Novu, NovuAccess, subscriber_id
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    Validation,
)
from tenant_pipelines.domain.outcomes import AlreadyDone, Created
from tenant_pipelines.domain.ports import Mailer
from tenant_pipelines.domain.tenant import Contact
from tests.conftest import Fence, FenceLowered

REAL = os.environ.get("TENANT_PIPELINES_TEST_NOVU_URL")
KEY = os.environ.get("TENANT_PIPELINES_TEST_NOVU_KEY", "novu-sandbox-only")
OF_THE_SANDBOX = pytest.mark.skipif(REAL is not None, reason="needs the fault switch or the inbox of the stand-in")
ADA = Contact("Ada", "Lovelace", "ada.l@acme.test")
Calls = Callable[..., Call]
Send_ = Callable[..., Any]


class Stage:
    """One server for the whole module; each test puts its own stand-in on it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def url(stage: Stage) -> Iterator[str]:
    if REAL:
        yield REAL
        return
    with running(stage) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"ApiKey {KEY}"}, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def mailer(url: str) -> Novu:
    """One for all tests: it keeps nothing but its connections."""
    adapter = Novu(NovuAccess(KEY, url))
    fulfils: Mailer = adapter
    assert fulfils is adapter
    return adapter


@pytest.fixture
def standin(stage: Stage) -> StandIn:
    standin = StandIn(key=KEY)
    stage.app = standin.app()
    return standin


@pytest.fixture
def send(standin: StandIn, mailer: Novu, mark: Mark, call: Calls) -> Send_:
    """Sends Ada her welcome; each time by a new call of the same attempt."""

    def act(*, by: Call | None = None, template: str = "tenant-welcome", name: str = "Acme") -> Any:
        payload = {"tenantName": name}
        return mailer.send(template=template, recipient=ADA, payload=payload, mark=mark, call=by or call())

    return act


class Impatient(Call):
    """Has time, and gives each request very little of it."""

    def seconds_left(self, at_most: float = 30.0) -> float:
        return Call.seconds_left(self, min(at_most, 0.3))


@pytest.fixture
def impatient(fence: Fence) -> Call:
    return Impatient("6f2b7c3e:1:step", time.monotonic() + 20, fence)


def inbox(api: httpx.Client) -> list[Any]:
    found: list[Any] = api.get("/v1/messages").json()["data"]
    return found


def break_(api: httpx.Client, operation: str, mode: str) -> None:
    assert api.put("/_sandbox/faults", json=[{"operation": operation, "mode": mode, "times": 1}]).status_code == 200


def test_a_mail_is_sent(send: Send_, call: Calls) -> None:
    sent = send()

    assert isinstance(sent, Created)
    assert (sent.ref.system, sent.ref.kind, sent.ref.name) == ("novu", "notification", "tenant-welcome")
    assert sent.ref.id == call().key


@OF_THE_SANDBOX
def test_the_mail_is_the_recipients_and_carries_the_mark(api: httpx.Client, send: Send_, mark: Mark) -> None:
    send()

    [mail] = inbox(api)
    subscriber = mail["subscriber"]
    assert (mail["email"], mail["subject"], mail["payload"]) == (ADA.email, "Welcome to Acme", {"tenantName": "Acme"})
    assert subscriber["subscriberId"] == f"tenant-{mark.tenant_id}-ada_l_acme_test" == subscriber_id(mark, ADA.email)
    assert (subscriber["firstName"], subscriber["lastName"]) == ("Ada", "Lovelace")
    assert subscriber["data"] == mark.labels()


@OF_THE_SANDBOX
def test_one_key_is_one_mail(api: httpx.Client, send: Send_, call: Calls) -> None:
    for _ in range(2):
        assert isinstance(send(), Created)
    send(name="Acme, renamed meanwhile")
    assert len(inbox(api)) == 1

    send(by=call(key="another"))
    assert len(inbox(api)) == 2


@OF_THE_SANDBOX
def test_where_novu_promises_it_a_second_time_is_known_as_such(
    stage: Stage, api: httpx.Client, send: Send_, call: Calls
) -> None:
    stage.app = StandIn(key=KEY, idempotency=True).app()

    first, second, renamed = send(), send(), send(name="Acme, renamed meanwhile")

    assert [type(one) for one in (first, second, renamed)] == [Created, AlreadyDone, Created]
    assert len(inbox(api)) == 1


@OF_THE_SANDBOX
def test_the_saved_error_of_a_key_is_not_the_last_word(
    stage: Stage, api: httpx.Client, send: Send_, fence: Fence
) -> None:
    """Novu answers an idempotency key for a day with 503 once its first answer was an error."""
    standin = StandIn(key=KEY, idempotency=True)
    stage.app = standin.app()
    with pytest.raises(InvalidConfiguration):
        send(template="tenant-farewell")
    standin.store.put("workflow", "tenant-farewell", {"id": "1", "subject": "Farewell", "active": True})

    sent = send(template="tenant-farewell")

    assert isinstance(sent, Created)
    assert [mail["subject"] for mail in inbox(api)] == ["Farewell"]
    assert fence.asked == 2 + 3


def test_an_unknown_workflow_is_a_matter_of_configuration(send: Send_) -> None:
    with pytest.raises(InvalidConfiguration, match=r"Novu .* tenant-nonsense"):
        send(template="tenant-nonsense")


@OF_THE_SANDBOX
def test_a_workflow_that_is_switched_off_is_not_a_mail_sent(api: httpx.Client, standin: StandIn, send: Send_) -> None:
    standin.store.put("workflow", "tenant-welcome", {"id": "1", "subject": "x", "active": False})

    with pytest.raises(InvalidConfiguration, match="switched off"):
        send()

    assert inbox(api) == []


@OF_THE_SANDBOX
def test_the_neighbours_subscriber_is_left_alone(
    api: httpx.Client, standin: StandIn, mailer: Novu, send: Send_, neighbour: Mark, call: Calls
) -> None:
    mailer.send(template="tenant-welcome", recipient=ADA, payload={}, mark=neighbour, call=call(key="theirs"))
    key = subscriber_id(neighbour, ADA.email)
    before = api.get(f"/v2/subscribers/{key}").json()

    send()

    assert api.get(f"/v2/subscribers/{key}").json() == before
    assert len(standin.store.all("subscriber")) == 2


@OF_THE_SANDBOX
def test_the_fence_is_asked_before_each_write(api: httpx.Client, standin: StandIn, send: Send_, fence: Fence) -> None:
    send()
    assert fence.asked == 2

    fence.lowered = True
    with pytest.raises(FenceLowered):
        send()
    standin.store.delete("subscriber", standin.store.all("subscriber")[0]["subscriberId"])
    with pytest.raises(FenceLowered):
        send()
    assert (standin.store.all("subscriber"), len(inbox(api))) == ([], 1)


def test_no_request_without_time(send: Send_, call: Calls, standin: StandIn) -> None:
    with pytest.raises(DeadlinePassed):
        send(by=call(seconds=-1))

    assert standin.store.all("subscriber") == []


WRITES = ["POST /v2/subscribers", "POST /v1/events/trigger"]
SAYS = {
    "refuse": "closed the connection without an answer: Connection refused (ECONNREFUSED) 127.0.0.1:",
    "timeout_before": "did not answer in time: Connection timeout (ETIMEDOUT) 127.0.0.1:",
    "timeout_after": "did not answer in time: Connection timeout (ETIMEDOUT) 127.0.0.1:",
    "rate_limited": "is rate limiting us (HTTP 429)",
    "server_error": "is not able to answer (HTTP 500)",
    "half_done": "is not able to answer (HTTP 500)",
}


@OF_THE_SANDBOX
@pytest.mark.parametrize(
    ("operation", "mode", "idempotency"),
    [(write, mode, False) for write in WRITES for mode in SAYS]
    + [(WRITES[1], mode, True) for mode in ("timeout_before", "timeout_after", "half_done")],
)
def test_an_outage_heals_by_the_next_attempt(
    stage: Stage, api: httpx.Client, send: Send_, impatient: Call, operation: str, mode: str, idempotency: bool
) -> None:
    stage.app = StandIn(key=KEY, idempotency=idempotency).app()
    break_(api, operation, mode)

    with pytest.raises(Outage) as outage:
        send(by=impatient)
    send()

    assert SAYS[mode] in str(outage.value)
    assert outage.value.lost == (mode != "rate_limited")
    assert outage.value.retry_after == (1.0 if mode == "rate_limited" else None)
    assert len(inbox(api)) == 1


@OF_THE_SANDBOX
def test_a_late_effect_is_not_a_second_mail(api: httpx.Client, standin: StandIn, send: Send_, impatient: Call) -> None:
    break_(api, "POST /v1/events/trigger", "late_effect")
    with pytest.raises(Outage) as outage:
        send(by=impatient)
    assert outage.value.lost
    send()
    inbox(api)

    deadline = time.monotonic() + 10
    while standin._held or standin._landings:
        assert time.monotonic() < deadline, "the held call has not landed"
        Event().wait(0.02)

    assert len(inbox(api)) == 1


@OF_THE_SANDBOX
@pytest.mark.parametrize("operation", WRITES)
def test_lost_credentials_are_reported_as_such(api: httpx.Client, send: Send_, operation: str) -> None:
    break_(api, operation, "unauthorized")

    with pytest.raises(InvalidCredentials, match="Novu answered 401 Unauthorized"):
        send()


def test_wrong_credentials_are_not_shown(standin: StandIn, url: str, mark: Mark, call: Calls) -> None:
    access = NovuAccess("wrong-and-secret", url)

    with pytest.raises(InvalidCredentials) as refused:
        Novu(access).send(template="tenant-welcome", recipient=ADA, payload={}, mark=mark, call=call())

    assert "Novu answered 401 Unauthorized" in str(refused.value)
    shown = f"{refused.value} {refused.value!r} {refused.value.way_out} {access!r} {refused.value.__cause__}"
    assert "wrong-and-secret" not in shown
    assert refused.value.__cause__ is not None
    assert standin.store.all("subscriber") == []


def test_the_debug_switch_of_the_library_logs_nothing(
    standin: StandIn,
    url: str,
    mark: Mark,
    call: Calls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NOVU_DEBUG", "true")
    with caplog.at_level("DEBUG", "novu_py"):
        Novu(NovuAccess(KEY, url)).send(template="tenant-welcome", recipient=ADA, payload={}, mark=mark, call=call())

    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("address", "failure", "says"),
    [
        ("http://127.0.0.1:1", Outage, "Connection refused (ECONNREFUSED) 127.0.0.1:1"),
        ("nonsense://127.0.0.1", InvalidConfiguration, "its address is wrong"),
    ],
)
def test_nobody_at_the_address(mark: Mark, call: Calls, address: str, failure: type[Failure], says: str) -> None:
    with pytest.raises(failure) as caught:
        Novu(NovuAccess(KEY, address)).send(template="x", recipient=ADA, payload={}, mark=mark, call=call())

    assert says in str(caught.value)
    assert not caught.value.lost


def _error(status: int, message: str = "words", **more: Any) -> dict[str, Any]:
    return {"statusCode": status, "timestamp": "t", "path": "p", "message": message, **more}


@OF_THE_SANDBOX
@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, _error(400, "workflow_not_found"), InvalidConfiguration),
        (422, _error(422, "workflow_not_found", errors={}), InvalidConfiguration),
        (404, _error(404), InvalidConfiguration),
        (400, _error(400), Validation),
        (400, _error(400, type="PAYLOAD_VALIDATION_ERROR", errors=[]), Validation),
        (400, "words", Validation),
        (422, _error(422, errors={"payload": {"messages": ["words"]}}), Validation),
        (403, _error(403), PermissionDenied),
        (409, _error(409), LockHeld),
        (418, _error(418), Answered),
        (429, "words", Outage),
        (500, "words", Outage),
        (503, _error(503), Outage),
        (201, "words", Answered),
        (201, {"data": {"acknowledged": True, "status": "no_workflow_steps_defined"}}, InvalidConfiguration),
        (201, {"data": {"acknowledged": True, "status": "invalid_recipients"}}, Validation),
        (201, {"data": {"acknowledged": True, "status": "error"}}, Answered),
        (201, {"data": {"acknowledged": True, "status": "words"}}, Answered),
    ],
)
def test_answers_by_status(
    stage: Stage, mailer: Novu, mark: Mark, call: Calls, status: int, body: Any, failure: type[Failure]
) -> None:
    subscriber = StandIn(key=KEY).app()
    asked = 0

    async def answer(_: Request) -> Response:
        nonlocal asked
        asked += 1
        return JSONResponse(body, status)

    trigger = Starlette(routes=[Route("/v1/events/trigger", answer, methods=["POST"])])

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        await (subscriber if scope["path"] == "/v2/subscribers" else trigger)(scope, receive, send)

    stage.app = both

    with pytest.raises(Failure) as caught:
        mailer.send(template="tenant-welcome", recipient=ADA, payload={}, mark=mark, call=call())

    assert type(caught.value) is failure
    assert caught.value.system == "Novu"
    assert "words" not in str(caught.value)
    assert asked == 1
