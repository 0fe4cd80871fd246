"""The HTTP door around its routes: health, what is not there, and what goes wrong inside."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tenant_pipelines import settings
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.rest import __main__ as program
from tests.operations.stage import HeardCompany
from tests.rest.test_webhooks import PATH, refusal, served, signed
from tests.settings_values import environment

AWAY = "postgresql://control_plane:fake-secret@127.0.0.1:1/arc_saas"


@pytest.fixture
def without_database(company: HeardCompany) -> Iterator[Desk]:
    database = Database(AWAY, patience=0.3)
    yield replace(company.desk, ledger=OperatorLedger(database))
    database.close()


def test_it_is_live_and_ready(company: HeardCompany) -> None:
    with served(company.desk) as door:
        assert (door.get("/health/live").status_code, door.get("/health/live").json()) == (200, {"status": "live"})
        assert (door.get("/health/ready").status_code, door.get("/health/ready").json()) == (200, {"status": "ready"})


def test_without_its_database_it_is_live_and_not_ready_and_names_no_host(without_database: Desk) -> None:
    body = b'{"tenantId": "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "success": true}'
    with served(without_database) as door:
        assert door.get("/health/live").status_code == 200
        answers = [door.get("/health/ready"), door.post(PATH, content=body, headers=signed(body))]

    for answer in answers:
        error = refusal(answer, 503)
        assert (error["code"], error["name"]) == ("UNAVAILABLE", "ServiceUnavailable")
        assert error["message"] == "The ledger's database does not answer. Try again in a moment."
        assert not any(word in answer.text for word in ("127.0.0.1", "fake-secret", "control_plane", "5432"))


def test_it_does_not_keep_a_caller_waiting_for_long_when_the_database_is_away(without_database: Desk) -> None:
    with served(without_database) as door:
        began = time.monotonic()
        door.get("/health/ready")

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_method_that_is_not_known_says_which_is(company: HeardCompany, method: str) -> None:
    with served(company.desk) as door:
        answer = door.request(method, PATH)

    assert refusal(answer, 405)["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/webhooks", "/webhooks/app-plane/x", "/workflows", "/%00", "/..%2f..%2fetc"])
def test_a_path_that_is_not_there(company: HeardCompany, path: str) -> None:
    with served(company.desk) as door:
        error = refusal(door.get(path), 404)

    assert (error["code"], error["name"], error["message"]) == ("NOT_FOUND", "NotFound", "There is nothing here.")


def test_a_mistake_of_our_own_shows_nothing_of_itself(company: HeardCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: OperatorLedger) -> None:
        raise RuntimeError("password=hunter2 at db.internal:5432")

    monkeypatch.setattr(OperatorLedger, "ping", broken)
    with served(company.desk) as door:
        answer = door.get("/health/ready")

    error = refusal(answer, 500)
    assert (error["code"], error["name"]) == ("INTERNAL", "InternalServerError")
    assert "hunter2" not in answer.text
    assert "db.internal" not in answer.text


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"app_plane_signal_secret": "whsec_"}, "TENANT_PIPELINES_APP_PLANE_SIGNAL_SECRET"),
        ({"database_url": "mysql://x"}, "TENANT_PIPELINES_DATABASE_URL"),
    ],
)
def test_settings_that_do_not_do_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: dict[str, str], named: str
) -> None:
    for name, value in environment(**changed).items():
        monkeypatch.setenv(name, value)
    assert settings.PREFIX in named

    assert program.main() == 2

    said = capsys.readouterr().err
    assert named in said
    assert "Traceback" not in said
