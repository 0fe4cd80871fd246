"""The app plane's confirmation over HTTP, signed as Standard Webhooks say (github.com/standard-webhooks)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psycopg
import pytest

from sandbox.serving import running
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.rest.app import application
from tenant_pipelines.rest.webhooks import BIGGEST
from tenant_pipelines.settings import InvalidSettings
from tests.operations.stage import HeardCompany, assert_sound, dump

KEY = b"fake-secret-of-the-signal"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/webhooks/app-plane"


@contextmanager
def served(desk: Desk) -> Iterator[httpx.Client]:
    """The door over a real socket."""
    with (
        running(application(desk, app_plane_secret=SECRET)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client,
    ):
        yield client


@pytest.fixture
def door(company: HeardCompany) -> Iterator[httpx.Client]:
    with served(company.desk) as client:
        yield client


@pytest.fixture
def waiting(company: HeardCompany, key: str) -> Execution:
    """A provisioning that waits for the confirmation."""
    execution = company.provision(key, plan="free")
    assert execution.waiting_until is not None
    return execution


def body_of(execution: Execution, **more: object) -> bytes:
    return json.dumps({"tenantId": str(execution.tenant_id), "success": True} | more).encode()


def signed(body: bytes, *, at: float | None = None, identity: str = "msg_1", key: bytes = KEY) -> dict[str, str]:
    """The three headers, made by hand from the specification and not with the library under test."""
    seconds = str(int(datetime.now(UTC).timestamp() if at is None else at))
    digest = hmac.new(key, b".".join((identity.encode(), seconds.encode(), body)), hashlib.sha256).digest()
    return {
        "webhook-id": identity,
        "webhook-timestamp": seconds,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "content-type": "application/json",
    }


def refusal(response: httpx.Response, status: int) -> Mapping[str, object]:
    """The contract's shape of an error; answers what is in it."""
    assert response.status_code == status
    document = response.json()
    assert set(document) == {"error"}
    error: Mapping[str, object] = document["error"]
    assert set(error) == {"statusCode", "name", "message", "code", "details"}
    assert (error["statusCode"], error["details"]) == (status, [])
    return error


def test_a_good_one_completes_the_workflow(door: httpx.Client, company: HeardCompany, waiting: Execution) -> None:
    body = body_of(waiting, organizationId="org-1")

    response = door.post(PATH, content=body, headers=signed(body))

    assert (response.status_code, response.json()) == (202, {"accepted": True})
    assert assert_sound(company, waiting).state is State.COMPLETED


@pytest.mark.parametrize("identity", ["msg_1", "msg_2"], ids=["replayed", "sent anew"])
def test_twice_is_accepted_and_has_no_effect(
    door: httpx.Client, company: HeardCompany, waiting: Execution, identity: str
) -> None:
    body = body_of(waiting)
    door.post(PATH, content=body, headers=signed(body))
    before = company.execution(waiting)

    response = door.post(PATH, content=body, headers=signed(body, identity=identity))

    assert response.status_code == 202
    assert company.execution(waiting) == before
    assert_sound(company, waiting)


def test_late_is_accepted_and_clears_the_mark(
    door: httpx.Client, company: HeardCompany, admin: psycopg.Connection, waiting: Execution
) -> None:
    admin.execute("update engine.executions set waiting_until = now() where id = %s", (waiting.id,))
    company.desk.ledger.expire_confirmation(waiting, "provisioning_app_plane")
    body = body_of(waiting)

    assert door.post(PATH, content=body, headers=signed(body)).status_code == 202

    assert company.desk.ledger.owed(waiting.tenant_id) == []


def test_bad_news_is_accepted_and_fails_the_workflow(
    door: httpx.Client, company: HeardCompany, waiting: Execution
) -> None:
    body = body_of(waiting, success=False, error="no room")

    assert door.post(PATH, content=body, headers=signed(body)).status_code == 202

    assert assert_sound(company, waiting).error_code == "WebhookRejected"


def test_the_right_signature_may_be_any_in_the_list(door: httpx.Client, waiting: Execution) -> None:
    body = body_of(waiting)
    headers = signed(body)
    other = signed(body, key=b"another key")["webhook-signature"]
    headers["webhook-signature"] = f"v1a,c29tZXRoaW5n {other} {headers['webhook-signature']}"

    assert door.post(PATH, content=body, headers=headers).status_code == 202


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_the_signature_counts_and_not_the_content_type(
    door: httpx.Client, waiting: Execution, content_type: str | None
) -> None:
    body = body_of(waiting)
    headers = {name: value for name, value in signed(body).items() if name != "content-type"}

    if content_type:
        headers["content-type"] = content_type

    assert door.post(PATH, content=body, headers=headers).status_code == 202


def unsigned(body: bytes) -> list[tuple[str, bytes, dict[str, str]]]:
    """What is not signed, or not by the app plane, or not now."""
    now = datetime.now(UTC).timestamp()
    good = signed(body)
    spaced = json.dumps(json.loads(body), indent=1).encode()
    return [
        ("nothing", body, {}),
        *((f"no {name}", body, {k: v for k, v in good.items() if k != name}) for name in good if "webhook" in name),
        *((f"empty {name}", body, good | {name: ""}) for name in good if "webhook" in name),
        ("a changed byte", body.replace(b"true", b"TRUE"), good),
        ("the same JSON written otherwise", spaced, good),
        ("an empty body", b"", good),
        ("too old", body, signed(body, at=now - 301)),
        ("from the future", body, signed(body, at=now + 301)),
        ("another id", body, good | {"webhook-id": "msg_2"}),
        ("another time", body, good | {"webhook-timestamp": str(int(now) - 1)}),
        ("no time", body, good | {"webhook-timestamp": "now"}),
        ("nan", body, good | {"webhook-timestamp": "nan"}),
        ("another key", body, signed(body, key=b"another key")),
        ("an empty key", body, signed(body, key=b"")),
        ("another version", body, good | {"webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}),
        ("no version", body, good | {"webhook-signature": good["webhook-signature"].removeprefix("v1,")}),
        ("an empty signature", body, good | {"webhook-signature": "v1,"}),
        ("no base64", body, good | {"webhook-signature": "v1,%%%"}),
        ("swapped", body, good | {"webhook-id": good["webhook-timestamp"], "webhook-timestamp": good["webhook-id"]}),
        ("not UTF-8", b"\xff" + body, good),
    ]


def test_what_is_not_signed_is_refused_and_changes_nothing(
    door: httpx.Client, company: HeardCompany, admin: psycopg.Connection, waiting: Execution
) -> None:
    before, heard = dump(admin), list(company.heard)

    for why, body, headers in unsigned(body_of(waiting)):
        error = refusal(door.post(PATH, content=body, headers=headers), 401)
        assert error["code"] == "UNAUTHORIZED", why
        assert error["message"] == "The signature is missing, wrong or too old.", why

    assert dump(admin) == before
    assert company.heard == heard


WRONG_BODIES = [
    (b"", "The body must be a JSON object."),
    (b"{", "The body must be a JSON object."),
    (b"[]", "The body must be a JSON object."),
    (b"null", "The body must be a JSON object."),
    (b"[" * 60_000, "The body must be a JSON object."),
    (b'{"tenantId": ' + b"9" * 5000 + b"}", "The body must be a JSON object."),
    (b"{}", "tenantId is required and must be a UUID."),
    (b'{"tenantId": "acme", "success": true}', "tenantId is required and must be a UUID."),
    (b'{"tenantId": ["TENANT"], "success": true}', "tenantId is required and must be a UUID."),
    (b'{"tenantId": "TENANT"}', "success: must be true or false."),
    (b'{"tenantId": "TENANT", "success": "true"}', "success: must be true or false."),
    (b'{"tenantId": "TENANT", "success": NaN}', "success: must be true or false."),
    (b'{"tenantId": "TENANT", "success": true, "organizationId": {}}', "organizationId: must be a text"),
    (b'{"tenantId": "TENANT", "success": true, "tenantKey": "x"}', "unknown fields: 'tenantKey'"),
    (b'{"tenantId": "TENANT", "success": true, "\\ud800": 1}', "unknown fields"),
]


def test_a_signed_body_that_is_wrong_changes_nothing(
    door: httpx.Client, admin: psycopg.Connection, company: HeardCompany, key: str
) -> None:
    tenant_id = str(company.create(key).id).encode()
    before = dump(admin)

    for template, said in WRONG_BODIES:
        body = template.replace(b"TENANT", tenant_id)
        error = refusal(door.post(PATH, content=body, headers=signed(body)), 422)
        assert (error["code"], error["name"]) == ("INVALID", "UnprocessableEntity"), template[:80]
        assert said in str(error["message"]), template[:80]

    assert dump(admin) == before


def test_bytes_that_are_no_text_cannot_be_signed(door: httpx.Client) -> None:
    """The signature is made over text: the library refuses to look at anything else."""
    body = b'{"tenantId": "\xff"}'

    refusal(door.post(PATH, content=body, headers=signed(body)), 401)


def test_words_that_postgresql_cannot_hold_are_no_accident_of_ours(
    door: httpx.Client, company: HeardCompany, waiting: Execution
) -> None:
    body = body_of(waiting, success=False, error="a\0b \ud83d")

    assert door.post(PATH, content=body, headers=signed(body)).status_code == 202

    assert "a?b ?" in (assert_sound(company, waiting).error or "")


def test_an_unknown_tenant(door: httpx.Client, company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    before_workflow = company.create(key).id
    before = dump(admin)

    for tenant_id in (uuid4(), before_workflow):
        body = json.dumps({"tenantId": str(tenant_id), "success": True}).encode()
        assert refusal(door.post(PATH, content=body, headers=signed(body)), 404)["code"] == "NOT_FOUND"

    assert dump(admin) == before


def test_what_is_too_large_is_refused_whether_or_not_it_says_how_large_it_is(
    door: httpx.Client, admin: psycopg.Connection
) -> None:
    before = dump(admin)
    body = b" " * (BIGGEST + 1)

    assert refusal(door.post(PATH, content=body, headers=signed(body)), 413)["name"] == "PayloadTooLarge"
    refusal(door.post(PATH, content=iter([body[:1000], body[1000:]]), headers=signed(body)), 413)

    assert dump(admin) == before


def test_the_largest_that_is_allowed_is_read(door: httpx.Client, waiting: Execution) -> None:
    body = body_of(waiting).ljust(BIGGEST)

    assert door.post(PATH, content=body, headers=signed(body)).status_code == 202


@pytest.mark.parametrize("secret", ["", "whsec_", "   ", "whsec_%%%", "whsec_a"])
def test_a_secret_without_a_key_in_it_is_refused_at_the_start(company: HeardCompany, secret: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        application(company.desk, app_plane_secret=secret)

    assert str(refused.value) == ("TENANT_PIPELINES_APP_PLANE_SIGNAL_SECRET: must be whsec_ and a key in base64")
