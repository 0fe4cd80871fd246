"""Novu's stand-in answers as Novu does: its own error objects, wrapped answers, repetitions dropped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import novu_py
import pytest
from novu_py import models
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.novu import WORKFLOWS, Novu
from sandbox.serving import running
from sandbox.store import Store

KEY = "novu-sandbox-only"
AUTHORIZED = {"Authorization": f"ApiKey {KEY}"}


class Stage:
    """One server for the whole module; each test puts its own stand-in on it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[httpx.Client]:
    with running(stage) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=AUTHORIZED) as client:
        yield client


@pytest.fixture
def api(stage: Stage, client: httpx.Client) -> httpx.Client:
    stage.app = Novu(key=KEY).app()
    return client


def subscribe(api: httpx.Client, key: str = "ada", **fields: Any) -> httpx.Response:
    return api.post("/v2/subscribers", json={"subscriberId": key, "email": "ada@acme.test", **fields})


def trigger(api: httpx.Client, *, key: str | None = None, **fields: Any) -> httpx.Response:
    event = {"name": "tenant-welcome", "to": "ada", "payload": {"tenantName": "Acme"}, **fields}
    return api.post("/v1/events/trigger", json=event, headers={"Idempotency-Key": key} if key else {})


def mails(api: httpx.Client, **asked: str) -> list[Any]:
    found: list[Any] = api.get("/v1/messages", params=asked).json()["data"]
    return found


def test_a_subscriber_is_created_changed_read_and_deleted(api: httpx.Client) -> None:
    made = subscribe(api, firstName="Ada")
    changed = subscribe(api, lastName="Lovelace")

    assert (made.status_code, changed.status_code, set(made.json())) == (201, 201, {"data"})
    found = api.get("/v2/subscribers/ada").json()["data"]
    assert found == changed.json()["data"]
    assert (found["firstName"], found["lastName"], found["_id"]) == ("Ada", "Lovelace", made.json()["data"]["_id"])
    assert api.delete("/v2/subscribers/ada").json() == {"data": {"acknowledged": True, "status": "deleted"}}
    assert api.get("/v2/subscribers/ada").status_code == 404
    assert api.delete("/v2/subscribers/ada").status_code == 404


def test_a_subscriber_can_be_wanted_to_be_new(api: httpx.Client) -> None:
    subscribe(api)

    again = api.post("/v2/subscribers", params={"failIfExists": "true"}, json={"subscriberId": "ada"})

    assert again.status_code == 409


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"subscriberId": ""}, "subscriberId"),
        ({"subscriberId": 7}, "subscriberId"),
        ({"subscriberId": "a b"}, "subscriberId"),
        ({"email": "no address"}, "email"),
        ({"firstName": 7}, "firstName"),
        ({"data": "text"}, "data"),
    ],
)
def test_a_wrong_subscriber_is_refused_field_by_field(api: httpx.Client, fields: dict[str, Any], named: str) -> None:
    answer = api.post("/v2/subscribers", json={"subscriberId": "ada", **fields})

    assert (answer.status_code, list(answer.json()["errors"])) == (422, [named])
    assert answer.json()["path"] == "/v2/subscribers"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"payload": "text"}, "payload"),
        ({"to": None}, "to"),
        ({"to": {"email": "x"}}, "to"),
        ({"to": {"subscriberId": "ada", "email": "no address"}}, "email"),
    ],
)
def test_a_wrong_event_is_refused(api: httpx.Client, fields: dict[str, Any], named: str) -> None:
    answer = trigger(api, **fields)

    assert (answer.status_code, list(answer.json()["errors"])) == (422, [named])
    assert mails(api) == []


def test_the_key_is_checked(api: httpx.Client) -> None:
    for header in ("", f"Bearer {KEY}", "ApiKey wrong", KEY):
        answer = api.get("/v1/messages", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["statusCode"], KEY in answer.text) == (401, 401, False)


def test_unknown_addresses_and_bodies_are_refused(api: httpx.Client) -> None:
    assert api.get("/v1/nonsense").json()["message"] == "Cannot GET /v1/nonsense"
    assert api.post("/v2/subscribers", content=b"{").status_code == 400
    assert api.post("/v2/subscribers", content=b"[]").status_code == 400


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_each_workflow_sends_a_mail(api: httpx.Client, workflow: str) -> None:
    subscribe(api)

    answer = trigger(api, name=workflow, transactionId="t-1")

    assert answer.status_code == 201
    assert answer.json() == {"data": {"acknowledged": True, "status": "processed", "transactionId": "t-1"}}
    [mail] = mails(api)
    assert (mail["email"], mail["templateIdentifier"], mail["status"]) == ("ada@acme.test", workflow, "sent")
    assert mail["subject"] == WORKFLOWS[workflow].format(tenantName="Acme")


def test_an_unknown_workflow_is_named_by_a_word(api: httpx.Client) -> None:
    answer = trigger(api, name="nonsense")

    assert (answer.status_code, answer.json()["message"]) == (400, "workflow_not_found")
    assert "errors" not in answer.json()


def test_an_event_brings_its_recipients_with_it(api: httpx.Client) -> None:
    trigger(api, to=["bob", {"subscriberId": "carl", "email": "carl@acme.test"}])

    assert [(mail["email"], mail["status"]) for mail in mails(api)] == [("carl@acme.test", "sent"), (None, "error")]
    assert api.get("/v2/subscribers/bob").status_code == 200


def test_a_transaction_id_is_taken_twice_and_sent_once(api: httpx.Client) -> None:
    first, second = trigger(api, transactionId="t-1"), trigger(api, transactionId="t-1", payload={})

    assert (second.status_code, second.json()) == (201, first.json())
    assert len(mails(api)) == 1
    assert trigger(api).json()["data"]["transactionId"] != trigger(api).json()["data"]["transactionId"]
    assert len(mails(api)) == 3


def test_idempotency_keys_count_only_where_they_are_switched_on(api: httpx.Client) -> None:
    for _ in range(2):
        assert "Idempotency-Replay" not in trigger(api, key="k").headers
    assert len(mails(api)) == 2


def test_an_idempotency_key_is_answered_as_before(stage: Stage, client: httpx.Client) -> None:
    now = [1_790_000_000.0]
    stage.app = Novu(key=KEY, idempotency=True, clock=lambda: now[0]).app()

    first, again = trigger(client, key="k"), trigger(client, key="k")
    other_body = trigger(client, key="k", payload={})
    other_path = client.post("/v2/subscribers", json={"subscriberId": "x"}, headers={"Idempotency-Key": "k"})

    assert (again.json(), again.headers["Idempotency-Replay"]) == (first.json(), "true")
    assert (other_body.status_code, other_path.status_code) == (422, 422)
    assert len(mails(client)) == 1
    now[0] += 24 * 3600 + 1
    assert "Idempotency-Replay" not in trigger(client, key="k").headers


def test_an_error_under_an_idempotency_key_comes_back_as_503(stage: Stage, client: httpx.Client) -> None:
    stage.app = Novu(key=KEY, idempotency=True).app()

    first, again = trigger(client, key="k", name="nonsense"), trigger(client, key="k", name="nonsense")

    assert (first.status_code, again.status_code, again.headers["Idempotency-Replay"]) == (400, 503, "true")


def test_a_workflow_that_is_switched_off_sends_nothing(stage: Stage, client: httpx.Client) -> None:
    standin = Novu(key=KEY)
    stage.app = standin.app()
    standin.store.put("workflow", "tenant-welcome", {"id": "1", "subject": "x", "active": False})

    answer = trigger(client)

    assert answer.json()["data"] == {"acknowledged": True, "status": "trigger_not_active"}
    assert mails(client) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library warns of fields that it reads itself
def test_the_librarys_own_types_fit_every_answer(api: httpx.Client) -> None:
    for number in range(3):
        trigger(api, transactionId=f"t-{number}", to={"subscriberId": f"s-{number}", "email": f"{number}@acme.test"})
    novu = novu_py.Novu(secret_key=KEY, server_url=str(api.base_url).rstrip("/"), retry_config=None)

    asked = models.MessagesControllerGetMessagesRequest(subscriber_id="s-1")
    messages = novu.messages.retrieve(request=asked).result
    wanted = models.NotificationsControllerListNotificationsRequest(transaction_id="t-2")
    events = novu.notifications.list(request=wanted).result
    subscriber = novu.subscribers.retrieve(subscriber_id="s-0").result

    assert [(one.transaction_id, one.email, one.subject) for one in messages.data] == [
        ("t-1", "1@acme.test", "Welcome to Acme")
    ]
    assert [one.transaction_id for one in events.data] == ["t-2"]
    assert subscriber.email == "0@acme.test"


def test_mails_come_in_pages(api: httpx.Client) -> None:
    for number in range(3):
        trigger(api, transactionId=f"t-{number}")

    pages = [api.get("/v1/messages", params={"page": page, "limit": 2}).json() for page in (0, 1)]

    assert [[one["transactionId"] for one in page["data"]] for page in pages] == [["t-2", "t-1"], ["t-0"]]
    assert [(page["hasMore"], page["totalCount"]) for page in pages] == [(True, 3), (False, 3)]
    assert [one["transactionId"] for one in mails(api, transactionId="t-1")] == ["t-1"]
    for wrong in ({"page": "x"}, {"limit": "0"}, {"limit": "101"}, {"page": "-1"}):
        assert api.get("/v1/messages", params=wrong).status_code == 422


def test_the_state_lists_subscribers_and_no_mails(api: httpx.Client) -> None:
    subscribe(api, data={"tenantKey": "acme", "managedBy": "tenant-pipelines"})
    subscribe(api, "by-hand", email="boss@acme.test")
    subscribe(api, "other", email="x@neighbour.test", data={"tenantKey": "neighbour"})
    trigger(api)

    shown = api.get("/_sandbox/state", params={"tenant": "acme"}).json()["objects"]

    assert [(one["kind"], one["id"], one["ours"]) for one in shown] == [
        ("subscriber", "ada", True),
        ("subscriber", "by-hand", False),
    ]


@pytest.mark.parametrize(("mode", "status"), [("rate_limited", 429), ("server_error", 500), ("unauthorized", 401)])
def test_faults_are_worded_as_novu_words_them(api: httpx.Client, mode: str, status: int) -> None:
    api.put("/_sandbox/faults", json=[{"operation": "GET /v2/subscribers/*", "mode": mode, "times": 1}])

    answer = api.get("/v2/subscribers/ada")

    assert (answer.status_code, answer.json()["statusCode"]) == (status, status)
    assert set(answer.json()) == {"statusCode", "timestamp", "path", "message"}


def test_everything_survives_a_restart(stage: Stage, client: httpx.Client, tmp_path: Path) -> None:
    store = Store(tmp_path / "novu.sqlite")
    stage.app = Novu(store, key=KEY).app()
    trigger(client, transactionId="t-1")
    before = mails(client)
    store.close()

    store = Store(tmp_path / "novu.sqlite")
    stage.app = Novu(store, key=KEY).app()
    trigger(client, transactionId="t-1")

    assert mails(client) == before
    store.close()
