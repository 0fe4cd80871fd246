"""The stand-in for Keycloak: held to the recorded answers of a real one, exchange by exchange; then what it adds."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.keycloak import Client, Keycloak, Realm
from sandbox.serving import running
from sandbox.store import Store

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "keycloak.json").read_text())
SCENES = GOLDEN["scenes"]
SECRET = "s3cr3t-provisioner"
PASSWORD = "a long pass phrase"
REALM = Realm(
    clients=(
        Client("provisioner", SECRET),
        Client("query-only", SECRET, rights=frozenset({"query-users", "query-clients"})),
        Client("organizations-only", SECRET, rights=frozenset({"manage-organizations"})),
        Client("realm-viewer", SECRET, rights=frozenset({"manage-organizations", "manage-users", "view-realm"})),
        Client("nothing", SECRET, rights=frozenset()),
        Client("control-plane-api", SECRET, service_account=False),
        Client("direct-cli", service_account=False, direct_access=True),
        Client("switched-off", SECRET, enabled=False),
    )
)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
VOLATILE = {"id", "containerId", "createdTimestamp", "access_token", "refresh_token", "id_token", "session_state"}


@dataclass
class Stage:
    """A stand-in that listens, and which of its ids stands for which recorded one."""

    http: httpx.Client
    ids: dict[str, str] = field(default_factory=dict[str, str])
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def send(self, exchange: dict[str, Any]) -> httpx.Response:
        body = _content(exchange.get("body"), self.ids)
        headers = {"Content-Type": exchange.get("content_type") or "application/json"}
        if exchange["as"] != "nobody":
            headers["Authorization"] = f"Bearer {self.token(exchange['as'])}"
        path = _translated(exchange["path"], self.ids)
        return self.http.request(exchange["method"], path, content=body, headers=headers)

    def token(self, who: str) -> str:
        if who not in self.tokens:
            self.tokens[who] = "a.b.c" if who == "stranger" else _token(self.http, who)
        return self.tokens[who]

    def learn_roles(self, recorded: Any, answered: Any) -> None:
        by_name = {role["name"]: role["id"] for role in _roles_in(answered)}
        self.ids |= {role["id"]: by_name[role["name"]] for role in _roles_in(recorded)}

    def learn(self, recorded: str, answered: str) -> None:
        for old, new in zip(UUID.findall(recorded), UUID.findall(answered), strict=False):
            self.ids.setdefault(old, new)


def _roles_in(body: Any) -> list[Any]:
    return [
        one for one in (body if isinstance(body, list) else [body]) if isinstance(one, dict) and "clientRole" in one
    ]


def _token(http: httpx.Client, who: str) -> str:
    if who == "admin":
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        answer = http.post("/auth/realms/master/protocol/openid-connect/token", data=form)
    else:
        form = {"grant_type": "client_credentials", "client_id": who, "client_secret": SECRET}
        answer = http.post("/auth/realms/ananta-saas/protocol/openid-connect/token", data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def _content(body: Any, ids: dict[str, str]) -> bytes:
    body = _written_out(body)
    if body is None:
        return b""
    text = body if isinstance(body, str) else json.dumps(body)
    password = "admin" if "admin-cli" in text else PASSWORD
    return _translated(text.replace("<secret>", SECRET).replace("<password>", password), ids).encode()


def _translated(text: str, ids: dict[str, str]) -> str:
    return UUID.sub(lambda found: ids.get(found[0], found[0]), text)


def _written_out(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"repeat"}:
        letter, times = value["repeat"]
        return letter * times
    if isinstance(value, dict):
        return {name: _written_out(one) for name, one in value.items()}
    return [_written_out(one) for one in value] if isinstance(value, list) else value


def _comparable(value: Any) -> Any:
    """Without what differs from one server to the next; lists of roles and scopes have no order."""
    if isinstance(value, dict):
        body = {name: type(one).__name__ if name in VOLATILE else _comparable(one) for name, one in value.items()}
        if isinstance(body.get("scope"), str):
            body["scope"] = sorted(body["scope"].split())
        return body
    if isinstance(value, list):
        found = [_comparable(one) for one in value]
        roles = bool(found) and all(isinstance(one, dict) and "clientRole" in one for one in found)
        actions = bool(found) and all(isinstance(one, str) and one.isupper() for one in found)
        return sorted(found, key=str) if roles or actions else found
    return value


@contextmanager
def staged(*realms: Realm, store: Store | None = None) -> Iterator[Stage]:
    with (
        running(Keycloak(store, realms=realms).app()) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        yield Stage(http)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene["name"])
def test_it_answers_as_the_real_one_did(scene: dict[str, Any]) -> None:
    realms = () if scene.get("realm", {}) is None else (replace(REALM, **scene.get("realm", {})),)
    with staged(*realms) as stage:
        for step in scene.get("given", []):
            made = stage.send({**step, "content_type": "application/json"})
            assert made.status_code == 201, made.text
            stage.learn(step.get("known_as", ""), made.headers["Location"])
        for exchange in scene["exchanges"]:
            _expect(exchange, stage.send(exchange), stage)


def _expect(exchange: dict[str, Any], answer: httpx.Response, stage: Stage) -> None:
    step = f"{exchange['step']}: {exchange['method']} {exchange['path']}"
    assert (step, answer.status_code) == (step, exchange["status"]), answer.text
    if "location" in exchange:
        stage.learn(exchange["location"], answer.headers["Location"])
        assert answer.headers["Location"].endswith(_translated(exchange["location"], stage.ids)), step
    expected = _written_out(exchange["answer"])
    if isinstance(expected, str):
        assert (step, answer.text) == (step, expected)
    else:
        assert answer.headers["Content-Type"].startswith("application/json"), step
        assert (step, _comparable(answer.json())) == (step, _comparable(expected))
        stage.learn_roles(expected, answer.json())


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(REALM) as one:
        yield one


ADMIN = "/auth/admin/realms/ananta-saas"
TOKEN = "/auth/realms/{}/protocol/openid-connect/token"


def _ask(stage: Stage, method: str, path: str, *, who: str = "provisioner", **more: Any) -> httpx.Response:
    return stage.http.request(method, path, headers={"Authorization": f"Bearer {stage.token(who)}"}, **more)


class TestTokens:
    @pytest.mark.parametrize("value", ["", "Bearer", "Bearer a.b.c", "Basic YTpi"])
    def test_nobody_comes_in_without_one(self, stage: Stage, value: str) -> None:
        answer = stage.http.get(f"{ADMIN}/organizations", headers={"Authorization": value})

        assert (answer.status_code, answer.json()) == (401, {"error": "HTTP 401 Unauthorized"})

    def test_one_that_was_tampered_with_is_none(self, stage: Stage) -> None:
        head, claims, signature = stage.token("provisioner").split(".")
        forged = f"{head}.{claims[:-2]}AA.{signature}"

        answer = stage.http.get(f"{ADMIN}/organizations", headers={"Authorization": f"Bearer {forged}"})

        assert answer.status_code == 401

    def test_one_that_has_expired_is_none(self) -> None:
        with staged(replace(REALM, token_seconds=0)) as stage:
            assert _ask(stage, "GET", f"{ADMIN}/organizations").status_code == 401

    def test_one_of_a_client_that_was_switched_off_is_none(self) -> None:
        store = Store()
        with staged(REALM, store=store) as stage:
            token = stage.token("provisioner")
        with staged(replace(REALM, clients=(Client("provisioner", SECRET, enabled=False),)), store=store) as stage:
            stage.tokens["provisioner"] = token

            assert _ask(stage, "GET", f"{ADMIN}/organizations").status_code == 401

    def test_one_of_another_realm_is_not_allowed(self) -> None:
        with staged(REALM, Realm("other")) as stage:
            assert _ask(stage, "GET", "/auth/admin/realms/other/organizations").status_code == 403
            assert _ask(stage, "GET", "/auth/admin/realms/nowhere/organizations").status_code == 404

    def test_a_client_that_is_switched_off_gets_none(self, stage: Stage) -> None:
        form = {"grant_type": "client_credentials", "client_id": "switched-off", "client_secret": SECRET}

        answer = stage.http.post(TOKEN.format("ananta-saas"), data=form)

        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    def test_a_refresh_token_gives_another_one(self, stage: Stage) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        first = stage.http.post(TOKEN.format("master"), data=form).json()
        again = {"grant_type": "refresh_token", "client_id": "admin-cli", "refresh_token": first["refresh_token"]}

        second = stage.http.post(TOKEN.format("master"), data=again).json()
        stage.tokens["renewed"] = second["access_token"]

        assert _ask(stage, "GET", f"{ADMIN}/organizations", who="renewed").status_code == 200
        forged = {**again, "refresh_token": first["access_token"]}
        assert stage.http.post(TOKEN.format("master"), data=forged).status_code == 400

    def test_a_wrong_operator_gets_none(self, stage: Stage) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "no"}

        answer = stage.http.post(TOKEN.format("master"), data=form)

        assert (answer.status_code, answer.json()["error_description"]) == (400, "Invalid user credentials")


class TestRunbook:
    """What an operator types when Keycloak is suspected."""

    @pytest.mark.parametrize("realm", ["master", "ananta-saas"])
    def test_a_realm_tells_that_it_is_there(self, stage: Stage, realm: str) -> None:
        answer = stage.http.get(f"/auth/realms/{realm}")

        assert (answer.status_code, answer.json()["realm"]) == (200, realm)
        assert answer.json()["token-service"].endswith(f"/auth/realms/{realm}/protocol/openid-connect")

    def test_a_realm_that_is_not_there(self, stage: Stage) -> None:
        answer = stage.http.get("/auth/realms/nowhere")

        assert (answer.status_code, answer.json()) == (404, {"error": "Realm does not exist"})


class TestStrictness:
    def test_beside_the_base_path_there_is_a_page(self, stage: Stage) -> None:
        answer = stage.http.get("/realms/master")

        assert (answer.status_code, answer.text) == (404, "<html><body><h1>Resource not found</h1></body></html>")

    def test_another_method_is_405(self, stage: Stage) -> None:
        answer = _ask(stage, "DELETE", f"{ADMIN}/organizations")

        assert (answer.status_code, answer.json()) == (405, {"error": "HTTP 405 Method Not Allowed"})

    @pytest.mark.parametrize("path", [f"{ADMIN}/organizations", f"{ADMIN}/users"])
    def test_another_content_type_is_415_and_an_unknown_field_400(self, stage: Stage, path: str) -> None:
        assert _ask(stage, "POST", path, data={"name": "x", "username": "xyz"}).status_code == 415
        answer = _ask(stage, "POST", path, json={"colour": "red"})

        assert answer.status_code == 400
        assert 'Unrecognized field "colour" at line 1 column 12.' in answer.json()["error"]

    def test_a_domain_of_another_organization_is_400_with_its_name(self, stage: Stage) -> None:
        for name in ("First", "Second"):
            body = {"name": name, "alias": name.lower(), "domains": [{"name": "shared.example"}]}
            answer = _ask(stage, "POST", f"{ADMIN}/organizations", json=body)

        assert answer.status_code == 400
        assert "First" in answer.json()["errorMessage"]

    def test_pages_are_of_ten_organizations_unless_asked_otherwise(self, stage: Stage) -> None:
        for number in range(11):
            body = {"name": f"Page {number:02d}", "alias": f"page{number}"}
            assert _ask(stage, "POST", f"{ADMIN}/organizations", json=body).status_code == 201
        search = {"search": "Page "}

        assert len(_ask(stage, "GET", f"{ADMIN}/organizations", params=search).json()) == 10
        assert len(_ask(stage, "GET", f"{ADMIN}/organizations", params={**search, "max": "-1"}).json()) == 11
        assert len(_ask(stage, "GET", f"{ADMIN}/organizations", params={**search, "first": "10"}).json()) == 1
        assert _ask(stage, "GET", f"{ADMIN}/organizations/count", params=search).json() == 11


class TestPeople:
    def test_one_who_is_invited_chooses_a_password_and_may_come_in(self) -> None:
        store = Store()
        with staged(REALM, store=store) as stage:
            key = self._invited(stage)
            form = {"grant_type": "password", "client_id": "direct-cli", "username": "jo@x.test", "password": PASSWORD}

            assert [mail["to"] for mail in store.all("mail")] == ["jo@x.test"]
            assert store.all("mail")[0]["actions"] == ["UPDATE_PASSWORD", "VERIFY_EMAIL"]
            password = {"type": "password", "value": PASSWORD, "temporary": False}
            assert _ask(stage, "PUT", f"{ADMIN}/users/{key}/reset-password", json=password).status_code == 204
            answer = stage.http.post(TOKEN.format("ananta-saas"), data=form)
            assert answer.json()["error_description"] == "Account is not fully set up"
            done = {"requiredActions": [], "emailVerified": True}
            assert _ask(stage, "PUT", f"{ADMIN}/users/{key}", json=done).status_code == 204
            assert stage.http.post(TOKEN.format("ananta-saas"), data=form).status_code == 200
            assert _ask(stage, "PUT", f"{ADMIN}/users/{key}", json={"enabled": False}).status_code == 204
            assert (
                stage.http.post(TOKEN.format("ananta-saas"), data=form).json()["error_description"]
                == "Account disabled"
            )
            answer = _ask(stage, "PUT", f"{ADMIN}/users/{key}/execute-actions-email", json=["VERIFY_EMAIL"])
            assert (answer.status_code, answer.json()["errorMessage"]) == (400, "User is disabled")
            assert PASSWORD not in json.dumps(list(store.items()))

    def test_a_temporary_password_has_to_be_changed(self, stage: Stage) -> None:
        body = {"username": "temp", "credentials": [{"type": "password", "value": PASSWORD, "temporary": True}]}
        where = _ask(stage, "POST", f"{ADMIN}/users", json=body).headers["Location"]

        assert _ask(stage, "GET", where).json()["requiredActions"] == ["UPDATE_PASSWORD"]

    def _invited(self, stage: Stage) -> str:
        actions = ["UPDATE_PASSWORD", "VERIFY_EMAIL"]
        body = {"username": "jo@x.test", "email": "jo@x.test", "enabled": True, "requiredActions": actions}
        key = _ask(stage, "POST", f"{ADMIN}/users", json=body).headers["Location"].rsplit("/", 1)[-1]
        assert _ask(stage, "PUT", f"{ADMIN}/users/{key}/execute-actions-email", json=actions).status_code == 204
        return key


class TestInspection:
    def test_everything_outlives_a_restart(self, tmp_path: Path) -> None:
        file = tmp_path / "keycloak.sqlite"
        store = Store(file)
        with staged(REALM, store=store) as stage:
            token = stage.token("provisioner")
            _ask(stage, "POST", f"{ADMIN}/organizations", json={"name": "Acme", "alias": "acme"})
        store.close()

        store = Store(file)
        with staged(REALM, store=store) as stage:
            stage.tokens["provisioner"] = token
            assert [one["alias"] for one in _ask(stage, "GET", f"{ADMIN}/organizations").json()] == ["acme"]
        store.close()

    def test_the_state_shows_organizations_and_users_and_whose_they_are(self) -> None:
        mark = {"tenantId": ["t1"], "tenantKey": ["acme"], "managedBy": ["tenant-pipelines"]}
        with staged(REALM) as stage:
            for alias, attributes in (("acme", mark), ("acme2", {})):
                made = {"name": alias, "alias": alias, "attributes": attributes}
                _ask(stage, "POST", f"{ADMIN}/organizations", json=made)
            body: dict[str, Any] = {"username": "jo@x.test", "email": "jo@x.test", "attributes": mark, "enabled": True}
            key = _ask(stage, "POST", f"{ADMIN}/users", json=body).headers["Location"].rsplit("/", 1)[-1]
            _ask(stage, "PUT", f"{ADMIN}/users/{key}/execute-actions-email", json=["VERIFY_EMAIL"])

            shown = stage.http.get("/auth/_sandbox/state", params={"tenant": "acme"}).json()["objects"]
            assert [(one["kind"], one["name"], one["ours"]) for one in shown] == [
                ("organization", "acme", True),
                ("user", "jo@x.test", True),
            ]
            everything = stage.http.get("/auth/_sandbox/state").json()["objects"]
            assert [(one["name"], one["ours"]) for one in everything] == [
                ("acme", True),
                ("acme2", False),
                ("jo@x.test", True),
            ]

    def test_a_fault_for_a_tenant_hits_calls_that_only_name_its_ids(self) -> None:
        with staged(REALM) as stage:
            keys = {}
            for alias in ("acme", "other"):
                answer = _ask(stage, "POST", f"{ADMIN}/organizations", json={"name": alias, "alias": alias})
                keys[alias] = answer.headers["Location"].rsplit("/", 1)[-1]
            operation = "DELETE /admin/realms/*/organizations/*"
            fault = {"operation": operation, "mode": "server_error", "times": 9, "tenant": "acme"}
            stage.http.put("/auth/_sandbox/faults", json=[fault])

            statuses = [_ask(stage, "DELETE", f"{ADMIN}/organizations/{keys[alias]}").status_code for alias in keys]

            assert statuses == [500, 204]
