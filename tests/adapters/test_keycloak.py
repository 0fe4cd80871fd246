"""The contract of the Keycloak adapter, with the real client library over a real socket.

It runs against the stand-in. With TENANT_PIPELINES_TEST_KEYCLOAK_URL (and _REALM, _CLIENT_ID, _CLIENT_SECRET of the
same prefix) it runs against a real server, whose realm is to be one for tests; what needs the fault switch is skipped.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.keycloak import Client, Realm
from sandbox.keycloak import Keycloak as StandIn
from sandbox.keycloak.answers import message
from sandbox.serving import running
from sandbox.store import Store
from tenant_pipelines.adapters.keycloak import Keycloak, KeycloakRealm
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, Ensured, NothingToRemove, NotOurs, Removal, Removed
from tenant_pipelines.domain.ports import IdentityProvider
from tenant_pipelines.domain.tenant import Contact
from tests.conftest import Fence, FenceLowered

PREFIX = "TENANT_PIPELINES_TEST_KEYCLOAK_"
REAL = os.environ.get(PREFIX + "URL")
SECRET = os.environ.get(PREFIX + "CLIENT_SECRET", "s3cr3t-provisioner")
REALM = Realm(
    clients=(
        Client("provisioner", SECRET),
        Client("query-only", SECRET, rights=frozenset({"query-users", "query-groups"})),
        Client("no-users", SECRET, rights=frozenset({"manage-organizations"})),
    )
)
ORGANIZATIONS = "/admin/realms/*/organizations"
USERS = "/admin/realms/*/users"
JO = Contact("Jo", "Do", "Jo@acme.example", primary=True)
Calls = Callable[..., Call]


@dataclass
class Bench:
    """The server under test, looked at past the adapter."""

    settings: KeycloakRealm
    store: Store
    http: httpx.Client
    made: list[str] = field(default_factory=list[str])

    def adapter(self, **changes: Any) -> Keycloak:
        return Keycloak(replace(self.settings, **changes))

    def break_(self, operation: str, mode: str, times: int = 1) -> None:
        if REAL:
            pytest.skip("a real server has no fault switch")
        faults = [{"operation": operation, "mode": mode, "times": times}]
        assert self.http.put("/auth/_sandbox/faults", json=faults).status_code == 200

    def faults_left(self) -> int:
        return sum(fault["times"] for fault in self.http.get("/auth/_sandbox/faults").json())

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret,
        }
        url = f"{self.settings.url}/realms/{self.settings.realm}/protocol/openid-connect/token"
        token = self.http.post(url, data=form).json()["access_token"]
        url = f"{self.settings.url}/admin/realms/{self.settings.realm}{path}"
        return self.http.request(method, url, headers={"Authorization": f"Bearer {token}"}, **more)

    def make(self, path: str, body: dict[str, Any]) -> str:
        answer = self.ask("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        where = answer.headers["Location"].rsplit("/", 1)[-1]
        self.made.append(f"{path}/{where}")
        return str(where)

    def organizations(self) -> list[dict[str, Any]]:
        found = self.ask("GET", "/organizations", params={"briefRepresentation": "false", "max": "100"}).json()
        return list(found)

    def users(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/users", params={"briefRepresentation": "false"}).json())

    def members(self, organization: str) -> list[str]:
        return [one["id"] for one in self.ask("GET", f"/organizations/{organization}/members").json()]

    def roles(self, user: str) -> set[str]:
        return {one["name"] for one in self.ask("GET", f"/users/{user}/role-mappings/realm").json()}

    def mails(self) -> list[str]:
        return [mail["to"] for mail in self.store.all("mail")]

    def everything(self) -> list[dict[str, Any]]:
        return [*self.organizations(), *self.users()]


@contextmanager
def _bench(realm: Realm = REALM) -> Iterator[Bench]:
    stand_in = StandIn(realms=[realm])
    with running(stand_in.app()) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
        settings = KeycloakRealm(f"http://127.0.0.1:{port}/auth", realm.name, "provisioner", SECRET)
        yield Bench(settings, stand_in.store, http)


@pytest.fixture(scope="module")
def server() -> Iterator[Bench]:
    if REAL is None:
        with _bench() as bench:
            yield bench
        return
    realm = os.environ.get(PREFIX + "REALM", "ananta-saas")
    client = os.environ.get(PREFIX + "CLIENT_ID", "provisioner")
    with httpx.Client(timeout=20) as http:
        yield Bench(KeycloakRealm(REAL.rstrip("/"), realm, client, SECRET), Store(), http)


@pytest.fixture
def bench(server: Bench, mark: Mark, neighbour: Mark) -> Iterator[Bench]:
    """The server without anything that an earlier test has left."""
    yield server
    if REAL is None:
        server.http.put("/auth/_sandbox/faults", json=[])
        for kind, key, _ in [one for one in server.store.items() if one[0] != "secret"]:
            server.store.delete(kind, key)
        return
    for path in server.made:
        server.ask("DELETE", path)
    server.made.clear()
    for one in (mark, neighbour):
        call = Call("clean-up", time.monotonic() + 20, lambda: None)
        server.adapter().remove_admin_user(mark=one, call=call)
        server.adapter().remove_organization(alias=one.tenant_key, mark=one, call=call)


@pytest.fixture
def keycloak(bench: Bench) -> IdentityProvider:
    provider: IdentityProvider = bench.adapter()
    return provider


def _organization(provider: IdentityProvider, mark: Mark, call: Call, **changes: Any) -> Ensured:
    wanted = {"name": f"{mark.tenant_key} Inc", "domains": [f"{mark.tenant_key}.example"], **changes}
    return provider.ensure_organization(alias=mark.tenant_key, mark=mark, call=call, **wanted)


def _admin(provider: IdentityProvider, mark: Mark, call: Call, organization: str) -> Ensured:
    contact = replace(JO, email=f"Jo@{mark.tenant_key}.example")
    return provider.ensure_admin_user(contact=contact, organization_id=organization, mark=mark, call=call)


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen within 10 s"
        time.sleep(0.05)


class TestOrganization:
    def test_is_created_with_the_mark(self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls) -> None:
        outcome = _organization(keycloak, mark, call())

        assert isinstance(outcome, Created)
        assert (outcome.ref.system, outcome.ref.kind, outcome.ref.name) == ("keycloak", "organization", "acme")
        [found] = bench.organizations()
        assert found["id"] == outcome.ref.id
        assert (found["alias"], found["name"], found["enabled"]) == ("acme", "acme Inc", True)
        assert [domain["name"] for domain in found["domains"]] == ["acme.example"]
        assert found["attributes"] == {name: [value] for name, value in mark.labels().items()}

    def test_is_adopted_the_second_time(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, fence: Fence
    ) -> None:
        first = _organization(keycloak, mark, call())
        asked = fence.asked

        second = _organization(keycloak, mark, call())

        assert second == Adopted(first.ref, first.facts)
        assert fence.asked == asked, "nothing had to be written"
        assert len(bench.organizations()) == 1

    def test_is_corrected_when_adopted_and_keeps_what_people_added(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        key = _organization(keycloak, mark, call()).ref.id
        [found] = bench.organizations()
        by_hand = {**found, "description": "vip", "redirectUrl": "https://acme.example/", "enabled": False}
        by_hand["domains"] = [{"name": "acme.example", "verified": True}]
        assert bench.ask("PUT", f"/organizations/{key}", json=by_hand).status_code == 204

        outcome = _organization(keycloak, mark, call(), name="Acme", domains=["acme.example", "acme.test"])

        assert isinstance(outcome, Adopted)
        [found] = bench.organizations()
        assert (found["name"], found["enabled"], found["description"]) == ("Acme", True, "vip")
        assert sorted((one["name"], one["verified"]) for one in found["domains"]) == [
            ("acme.example", True),
            ("acme.test", False),
        ]
        assert found["attributes"]["tenantId"] == [mark.tenant_id]

    @pytest.mark.parametrize("taken", [{"alias": "acme", "name": "Secret Co"}, {"alias": "secret", "name": "acme Inc"}])
    def test_of_somebody_else_is_refused_and_untouched(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, taken: dict[str, str]
    ) -> None:
        bench.make("/organizations", {**taken, "description": "not yours"})
        before = bench.organizations()

        with pytest.raises(ResourceAlreadyExists, match="organization acme") as caught:
            _organization(keycloak, mark, call())

        assert bench.organizations() == before
        assert "secret" not in "".join(traceback.format_exception(caught.value)).lower()

    def test_of_a_neighbour_is_refused_with_its_domain_and_without_its_name(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        _organization(keycloak, neighbour, call())
        before = bench.organizations()

        with pytest.raises(
            ResourceAlreadyExists, match=r"acme cannot have shared\.example|neighbour\.example"
        ) as caught:
            _organization(keycloak, mark, call(), domains=["acme.example", "neighbour.example"])

        assert "neighbour Inc" not in "".join(traceback.format_exception(caught.value))
        assert neighbour.tenant_id not in str(caught.value)
        assert bench.organizations() == before

    def test_cannot_be_given_a_domain_of_a_neighbour_when_adopted(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        _organization(keycloak, neighbour, call())
        _organization(keycloak, mark, call())
        before = bench.organizations()

        with pytest.raises(ResourceAlreadyExists, match=r"neighbour\.example"):
            _organization(keycloak, mark, call(), domains=["neighbour.example"])

        assert bench.organizations() == before

    @pytest.mark.parametrize(
        "wrong", [{"name": "n" * 256}, {"name": ""}, {"domains": ["d" * 256]}, {"domains": ["not a domain!"]}]
    )
    def test_that_cannot_be_is_a_validation_error(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, wrong: dict[str, Any]
    ) -> None:
        with pytest.raises(Validation, match="organization acme") as caught:
            _organization(keycloak, mark, call(), **wrong)

        assert len(str(caught.value)) < 500
        assert bench.organizations() == []

    def test_is_removed_once_and_the_second_time_there_is_nothing(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        _organization(keycloak, neighbour, call())
        before = bench.everything()
        ref = _organization(keycloak, mark, call()).ref

        assert keycloak.remove_organization(alias="acme", mark=mark, call=call()) == Removed(ref)
        second = keycloak.remove_organization(alias="acme", mark=mark, call=call())

        assert isinstance(second, NothingToRemove)
        assert bench.everything() == before

    def test_of_somebody_else_is_not_removed(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        _organization(keycloak, neighbour, call())
        bench.make("/organizations", {"alias": "acme", "name": "Older than us"})
        before = bench.organizations()

        assert isinstance(keycloak.remove_organization(alias="acme", mark=mark, call=call()), NotOurs)
        assert isinstance(keycloak.remove_organization(alias="neighbour", mark=mark, call=call()), NotOurs)
        assert bench.organizations() == before


class TestAdministrator:
    def test_has_mark_membership_role_and_invitation(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id

        outcome = _admin(keycloak, mark, call(), organization)

        assert isinstance(outcome, Created)
        [user] = bench.users()
        assert (outcome.ref.kind, outcome.ref.id) == ("user", user["id"])
        assert (user["username"], user["email"]) == ("jo@acme.example", "jo@acme.example")
        assert (user["firstName"], user["lastName"]) == ("Jo", "Do")
        assert (user["enabled"], user["emailVerified"]) == (True, False)
        assert set(user["requiredActions"]) == {"UPDATE_PASSWORD", "VERIFY_EMAIL"}
        assert set(user["attributes"]) == {*mark.labels(), "invitedAt"}
        assert all(user["attributes"][name] == [value] for name, value in mark.labels().items())
        assert bench.members(organization) == [user["id"]]
        assert "tenant-admin" in bench.roles(user["id"])
        assert REAL or bench.mails() == ["jo@acme.example"]
        assert outcome.facts["invitation"].startswith("sent at ")

    def test_is_adopted_and_not_invited_again(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        first = _admin(keycloak, mark, call(), organization)
        before = bench.users()

        second = _admin(keycloak, mark, call(), organization)

        assert isinstance(second, Adopted)
        assert second.ref.id == first.ref.id
        assert bench.users() == before
        assert REAL or len(bench.mails()) == 1

    def test_keeps_what_the_person_has_changed(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        key = _admin(keycloak, mark, call(), organization).ref.id
        [user] = bench.users()
        mine = {name: user[name] for name in ("username", "email", "attributes")}
        changed = {**mine, "firstName": "Johanna", "lastName": "Doe", "requiredActions": []}
        assert bench.ask("PUT", f"/users/{key}", json=changed).status_code == 204
        before = bench.users()

        _admin(keycloak, mark, call(), organization)

        assert bench.users() == before

    @pytest.mark.parametrize("email", ["Jo@acme.example", "JO@ACME.EXAMPLE"])
    def test_of_somebody_else_is_refused_and_untouched(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, email: str
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        bench.make("/users", {"username": email, "email": email, "enabled": True, "lastName": "Secretive"})
        before = bench.everything()

        with pytest.raises(ResourceAlreadyExists, match=r"user Jo@acme\.example") as caught:
            _admin(keycloak, mark, call(), organization)

        assert "Secretive" not in "".join(traceback.format_exception(caught.value))
        assert bench.everything() == before
        assert bench.members(organization) == []

    def test_is_not_put_into_an_organization_that_is_not_the_tenants(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        theirs = _organization(keycloak, neighbour, call()).ref.id
        before = bench.everything()

        for organization in (theirs, "00000000-0000-4000-8000-000000000000"):
            with pytest.raises(ResourceNotFound, match=organization):
                _admin(keycloak, mark, call(), organization)

        assert bench.everything() == before

    def test_with_a_name_that_is_not_accepted_is_a_validation_error_that_names_the_field(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        contact = replace(JO, first_name="<script>")

        with pytest.raises(Validation, match=r"\(firstName\)"):
            keycloak.ensure_admin_user(contact=contact, organization_id=organization, mark=mark, call=call())

        assert bench.users() == []

    def test_is_removed_and_nobody_elses_is(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
    ) -> None:
        for one in (neighbour, mark):
            _admin(keycloak, one, call(), _organization(keycloak, one, call()).ref.id)
        bench.make("/users", {"username": "stranger", "email": "stranger@acme.example"})
        others = [user for user in bench.users() if user["username"] != "jo@acme.example"]

        [removed] = keycloak.remove_admin_user(mark=mark, call=call())

        assert isinstance(removed, Removed)
        assert removed.ref.name == "jo@acme.example"
        assert bench.users() == others
        assert keycloak.remove_admin_user(mark=mark, call=call()) == []


def test_find_answers_what_carries_the_mark_and_nothing_else(
    keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    assert keycloak.find(mark=mark, call=call()) == []
    _admin(keycloak, neighbour, call(), _organization(keycloak, neighbour, call()).ref.id)
    organization = _organization(keycloak, mark, call()).ref
    user = _admin(keycloak, mark, call(), organization.id).ref
    half = {name: [value] for name, value in mark.labels().items() if name != "tenantId"}
    bench.make("/organizations", {"alias": "copied", "name": "Copied", "attributes": half})
    shouted = {name: [value.upper()] for name, value in mark.labels().items()}  # users are found in any case
    bench.make("/users", {"username": "shouted", "attributes": shouted})

    assert keycloak.find(mark=mark, call=call()) == [organization, user]


@pytest.mark.skipif(REAL is not None, reason="needs a server that does not search well")
def test_what_the_server_finds_is_looked_at_once_more(
    bench: Bench, mark: Mark, neighbour: Mark, call: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    keycloak = bench.adapter()
    _admin(keycloak, neighbour, call(), _organization(keycloak, neighbour, call()).ref.id)
    before = bench.everything()
    for kind in ("organizations", "users"):
        monkeypatch.setattr(f"sandbox.keycloak.{kind}.has_pairs", lambda *_, **__: True)

    assert keycloak.find(mark=mark, call=call()) == []
    assert keycloak.remove_admin_user(mark=mark, call=call()) == []
    assert isinstance(keycloak.remove_organization(alias="acme", mark=mark, call=call()), NothingToRemove)
    assert bench.everything() == before


@pytest.mark.skipif(REAL is not None, reason="needs two removals at the same moment")
@pytest.mark.parametrize("gone", [True, False])
def test_a_user_whom_somebody_else_removes_at_the_same_moment(
    bench: Bench, mark: Mark, call: Calls, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """The real server answers the second one 400."""
    keycloak = bench.adapter()
    _admin(keycloak, mark, call(), _organization(keycloak, mark, call()).ref.id)

    def refused(*_: object) -> None:
        raise message(400, "User couldn't be deleted")

    name = "sandbox.keycloak.users.done" if gone else "sandbox.store.Store.delete"
    monkeypatch.setattr(name, refused)

    if gone:
        assert [type(one) for one in keycloak.remove_admin_user(mark=mark, call=call())] == [Removed]
    else:
        with pytest.raises(Answered, match="could not remove the user"):
            keycloak.remove_admin_user(mark=mark, call=call())
    monkeypatch.undo()
    assert len(bench.users()) == (not gone)


class TestFence:
    def test_lowered_nothing_is_written(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls, fence: Fence
    ) -> None:
        theirs = _organization(keycloak, neighbour, call()).ref.id
        _admin(keycloak, neighbour, call(), theirs)
        before = bench.everything()
        fence.lowered = True

        with pytest.raises(FenceLowered):
            _organization(keycloak, mark, call())
        with pytest.raises(FenceLowered):
            _organization(keycloak, neighbour, call(), name="Another name")
        with pytest.raises(FenceLowered):
            keycloak.remove_organization(alias="neighbour", mark=neighbour, call=call())
        with pytest.raises(FenceLowered):
            keycloak.remove_admin_user(mark=neighbour, call=call())

        assert bench.everything() == before

    def test_is_asked_before_each_write_and_a_run_stopped_at_any_of_them_is_healed(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        stops = list(range(1, 6))  # user, membership, role, mail, attribute

        for stop in stops:
            with pytest.raises(FenceLowered):
                _admin(keycloak, mark, _stopped_at(stop, call()), organization)
            assert len(bench.users()) == (stop > 1)
            _expect_healed(keycloak, bench, mark, call(), organization)
            keycloak.remove_admin_user(mark=mark, call=call())

        _admin(keycloak, mark, _stopped_at(len(stops) + 1, call()), organization)
        _expect_healed(keycloak, bench, mark, call(), organization)

    def test_a_reader_never_asks_it(self, keycloak: IdentityProvider, mark: Mark, call: Calls, fence: Fence) -> None:
        keycloak.find(mark=mark, call=call())
        keycloak.remove_organization(alias="acme", mark=mark, call=call())

        assert fence.asked == 0


def _stopped_at(write: int, call: Call) -> Call:
    left = [write]

    def fence() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise FenceLowered

    return replace(call, fence=fence)


def _expect_healed(keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Call, organization: str) -> None:
    _admin(keycloak, mark, call, organization)
    [user] = bench.users()
    assert bench.members(organization) == [user["id"]]
    assert "tenant-admin" in bench.roles(user["id"])
    assert "invitedAt" in user["attributes"]


SHORT = 0.6
"""Seconds of an attempt that hangs: enough for everything before that."""


class TestFaults:
    @pytest.mark.parametrize("mode", ["refuse", "timeout_before", "rate_limited", "server_error", "timeout_after"])
    def test_creating_an_organization_is_healed_by_the_next_attempt(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, neighbour: Mark, call: Calls, mode: str
    ) -> None:
        _organization(keycloak, neighbour, call())
        bench.break_(f"POST {ORGANIZATIONS}", mode)

        with pytest.raises(Outage) as caught:
            _organization(keycloak, mark, call(seconds=SHORT))

        assert caught.value.lost == (mode != "rate_limited")
        assert caught.value.retry_after == (1.0 if mode == "rate_limited" else None)
        outcome = _organization(keycloak, mark, call())
        assert isinstance(outcome, Adopted if mode == "timeout_after" else Created)
        assert len(bench.organizations()) == 2

    def test_a_created_organization_whose_answer_was_a_500_is_found_at_once(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        bench.break_(f"POST {ORGANIZATIONS}", "half_done")

        assert isinstance(_organization(keycloak, mark, call()), Created)
        assert len(bench.organizations()) == 1

    def test_an_organization_that_arrives_after_the_undo_has_looked_is_found_and_removed(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        bench.break_(f"POST {ORGANIZATIONS}", "late_effect")
        with pytest.raises(Outage) as caught:
            _organization(keycloak, mark, call(seconds=SHORT))
        assert caught.value.lost

        assert isinstance(keycloak.remove_organization(alias="acme", mark=mark, call=call()), NothingToRemove)

        _until(lambda: keycloak.find(mark=mark, call=call()))
        assert isinstance(keycloak.remove_organization(alias="acme", mark=mark, call=call()), Removed)
        assert bench.organizations() == []

    @pytest.mark.parametrize(
        ("mode", "outcome"),
        [
            ("refuse", Removed),
            ("timeout_before", Removed),
            ("server_error", Removed),
            ("timeout_after", NothingToRemove),
        ],
    )
    def test_removing_an_organization_is_healed_by_the_next_attempt(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, mode: str, outcome: type[Removal]
    ) -> None:
        _organization(keycloak, mark, call())
        bench.break_(f"DELETE {ORGANIZATIONS}/*", mode)

        with pytest.raises(Outage):
            keycloak.remove_organization(alias="acme", mark=mark, call=call(seconds=SHORT))

        assert isinstance(keycloak.remove_organization(alias="acme", mark=mark, call=call()), outcome)
        assert bench.organizations() == []

    @pytest.mark.parametrize("what", ["organizations", "users"])
    def test_what_is_gone_although_the_answer_was_a_500_counts_as_removed(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, what: str
    ) -> None:
        _admin(keycloak, mark, call(), _organization(keycloak, mark, call()).ref.id)
        bench.break_(f"DELETE /admin/realms/*/{what}/*", "half_done")

        [user] = keycloak.remove_admin_user(mark=mark, call=call())
        organization = keycloak.remove_organization(alias="acme", mark=mark, call=call())

        assert (type(user), type(organization)) == (Removed, Removed)
        assert bench.everything() == []
        assert bench.faults_left() == 0

    @pytest.mark.parametrize("mode", ["refuse", "server_error", "timeout_after", "half_done"])
    @pytest.mark.parametrize(
        ("operation", "mails"),
        [
            (f"POST {USERS}", {}),
            (f"POST {ORGANIZATIONS}/*/members", {}),
            (f"POST {USERS}/*/role-mappings/realm", {}),
            # The answer to the mail is lost, or what remembers it: nobody can know, so it is sent again.
            (f"PUT {USERS}/*/execute-actions-email", {"timeout_after": 2, "half_done": 2}),
            (f"PUT {USERS}/*", {"refuse": 2, "server_error": 2}),
        ],
        ids=["user", "membership", "role", "mail", "memory of the mail"],
    )
    def test_every_part_of_an_administrator_is_healed_by_the_next_attempt(
        self,
        keycloak: IdentityProvider,
        bench: Bench,
        mark: Mark,
        call: Calls,
        operation: str,
        mails: dict[str, int],
        mode: str,
    ) -> None:
        organization = _organization(keycloak, mark, call()).ref.id
        bench.break_(operation, mode)

        first = _outcome(lambda: _admin(keycloak, mark, call(seconds=SHORT), organization))

        assert isinstance(first, Outage) or (operation, mode) == (f"POST {USERS}", "half_done")
        assert bench.faults_left() == 0
        _expect_healed(keycloak, bench, mark, call(), organization)
        assert len(bench.mails()) == mails.get(mode, 1)
        keycloak.remove_admin_user(mark=mark, call=call())
        keycloak.remove_organization(alias="acme", mark=mark, call=call())
        assert bench.everything() == []

    def test_a_write_of_unknown_effect_stays_unknown_when_nobody_can_look(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        def fails(method: str, path: str) -> Call:
            """A call whose first write gets a 500 although it is carried out, and every look after that a refusal."""

            def fence() -> None:
                looks = [f"GET {path.removesuffix('/*')}", f"GET {path}"]
                rules = [(f"{method} {path}", "half_done"), *((look, "refuse") for look in looks)]
                faults = [{"operation": operation, "mode": mode, "times": 1} for operation, mode in rules]
                bench.http.put("/auth/_sandbox/faults", json=faults)

            return replace(call(), fence=fence)

        if REAL:
            pytest.skip("a real server has no fault switch")
        attempts: list[Callable[[], object]] = [
            lambda: _organization(keycloak, mark, fails("POST", ORGANIZATIONS)),
            lambda: _admin(keycloak, mark, fails("POST", USERS), bench.organizations()[0]["id"]),
            lambda: keycloak.remove_admin_user(mark=mark, call=fails("DELETE", f"{USERS}/*")),
            lambda: keycloak.remove_organization(alias="acme", mark=mark, call=fails("DELETE", f"{ORGANIZATIONS}/*")),
        ]
        for attempt in attempts:
            with pytest.raises(Outage) as caught:
                attempt()
            assert caught.value.lost
            bench.http.put("/auth/_sandbox/faults", json=[])
        assert bench.everything() == []

    @pytest.mark.parametrize("operation", [f"GET {ORGANIZATIONS}", f"POST {ORGANIZATIONS}"])
    def test_one_401_costs_a_new_token_and_nothing_else(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, operation: str
    ) -> None:
        bench.break_(operation, "unauthorized")

        assert isinstance(_organization(keycloak, mark, call()), Created)
        assert len(bench.organizations()) == 1
        assert bench.faults_left() == 0

    def test_the_write_that_the_library_repeats_after_a_401_asks_the_fence_again(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        bench.break_(f"POST {ORGANIZATIONS}", "unauthorized")

        with pytest.raises(FenceLowered):
            _organization(keycloak, mark, _stopped_at(2, call()))

        assert bench.organizations() == []

    @pytest.mark.parametrize("operation", ["*", f"POST {ORGANIZATIONS}"])
    def test_401_again_and_again_is_a_matter_of_credentials(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls, operation: str
    ) -> None:
        bench.break_(operation, "unauthorized", times=9)

        with pytest.raises(InvalidCredentials, match="Keycloak answered 401 Unauthorized"):
            _organization(keycloak, mark, call())

    def test_a_request_that_hangs_is_sent_once(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        for operation in ("POST /realms/*/protocol/openid-connect/token", f"POST {ORGANIZATIONS}"):
            bench.break_(operation, "timeout_before", times=3)

            with pytest.raises(Outage, match=r"Connection timeout \(ETIMEDOUT\) 127\.0\.0\.1:\d+"):
                _organization(keycloak, mark, call(seconds=SHORT))

            assert bench.faults_left() == 2
            bench.http.put("/auth/_sandbox/faults", json=[])
            keycloak.find(mark=mark, call=call())

    def test_a_lost_answer_to_a_reader_leaves_nothing_behind(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        for mode in ("timeout_before", "server_error", "refuse"):
            bench.break_(f"GET {ORGANIZATIONS}", mode)
            with pytest.raises(Outage) as caught:
                _organization(keycloak, mark, call(seconds=SHORT))
            assert not caught.value.lost

    def test_time_that_is_over_sends_nothing(
        self, keycloak: IdentityProvider, bench: Bench, mark: Mark, call: Calls
    ) -> None:
        bench.break_("*", "server_error", times=5)

        with pytest.raises(DeadlinePassed):
            _organization(keycloak, mark, call(seconds=0))

        assert bench.faults_left() == 5


def _outcome(attempt: Callable[[], Ensured]) -> Ensured | Failure:
    try:
        return attempt()
    except Failure as failure:
        return failure


class TestSetUp:
    def test_a_wrong_secret_is_named_and_not_shown(self, bench: Bench, mark: Mark, call: Calls) -> None:
        wrong = "-".join(["hunter", "2"])  # not in the source as such: a traceback shows that too

        with pytest.raises(InvalidCredentials, match="Keycloak answered 401 Unauthorized") as caught:
            _organization(bench.adapter(client_secret=wrong), mark, call())

        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.way_out)
        assert wrong not in shown
        assert wrong not in repr(replace(bench.settings, client_secret=wrong))

    def test_an_unknown_client_is_named(self, bench: Bench, mark: Mark, call: Calls) -> None:
        with pytest.raises(InvalidCredentials, match=r"401 Unauthorized.*nobody"):
            bench.adapter(client_id="nobody").find(mark=mark, call=call())

    def test_a_wrong_realm_is_not_found(self, bench: Bench, mark: Mark, call: Calls) -> None:
        with pytest.raises(InvalidConfiguration, match="Keycloak realm not found: nowhere") as caught:
            _organization(bench.adapter(realm="nowhere"), mark, call())

        assert caught.value.way_out == f"curl {bench.settings.url}/realms/nowhere"

    def test_nothing_listens(self, bench: Bench, mark: Mark, call: Calls) -> None:
        with pytest.raises(Outage, match=r"Connection refused \(ECONNREFUSED\) 127\.0\.0\.1:9$") as caught:
            _organization(bench.adapter(url="http://127.0.0.1:9/auth"), mark, call())

        assert not caught.value.lost

    @pytest.mark.parametrize(
        ("client", "missing"),
        [("query-only", "manage-organizations, manage-users"), ("no-users", "manage-users")],
    )
    def test_without_the_rights_nothing_is_believed_to_be_gone(
        self, bench: Bench, mark: Mark, call: Calls, fence: Fence, client: str, missing: str
    ) -> None:
        if REAL:
            pytest.skip("needs clients with fewer rights, which the stand-in has")
        provider: IdentityProvider = bench.adapter(client_id=client)

        attempts: Sequence[Callable[[], object]] = [
            lambda: provider.find(mark=mark, call=call()),
            lambda: provider.remove_organization(alias="acme", mark=mark, call=call()),
            lambda: provider.remove_admin_user(mark=mark, call=call()),
            lambda: _organization(provider, mark, call()),
        ]
        for attempt in attempts:
            with pytest.raises(PermissionDenied, match=f"roles {missing} of realm-management"):
                attempt()
        assert fence.asked == 0

    def test_a_realm_that_drops_user_attributes_is_refused_before_a_user_is_made(self, mark: Mark, call: Calls) -> None:
        with _bench(replace(REALM, unmanaged_attributes=None)) as bench:
            provider = bench.adapter()
            organization = _organization(provider, mark, call()).ref.id

            with pytest.raises(InvalidConfiguration, match="user attributes tenantId, tenantKey, managedBy, invitedAt"):
                _admin(provider, mark, call(), organization)
            with pytest.raises(InvalidConfiguration):
                provider.remove_admin_user(mark=mark, call=call())

            assert bench.users() == []

    def test_a_realm_without_organizations_is_named(self, mark: Mark, call: Calls) -> None:
        with (
            _bench(replace(REALM, organizations=False)) as bench,
            pytest.raises(InvalidConfiguration, match="organizations switched off in the realm ananta-saas"),
        ):
            _organization(bench.adapter(), mark, call())

    def test_without_smtp_the_user_is_there_and_only_the_invitation_is_missing(self, mark: Mark, call: Calls) -> None:
        with _bench(replace(REALM, mail=False)) as bench:
            provider = bench.adapter()
            organization = _organization(provider, mark, call()).ref.id

            for _ in range(2):
                with pytest.raises(Outage, match=r"could not send the invitation mail \(HTTP 500\)") as caught:
                    _admin(provider, mark, call(), organization)

            assert "Email" in str(caught.value.way_out)
            assert not caught.value.lost
            [user] = bench.users()
            assert "invitedAt" not in user["attributes"]
            assert bench.members(organization) == [user["id"]]

    def test_a_realm_without_the_role_gets_its_administrator_all_the_same(self, mark: Mark, call: Calls) -> None:
        with _bench(replace(REALM, roles=())) as bench:
            provider = bench.adapter()
            outcome = _admin(provider, mark, call(), _organization(provider, mark, call()).ref.id)

            assert isinstance(outcome, Created)
            assert "role" not in outcome.facts

    def test_a_server_that_is_starting_is_waited_for(self, bench: Bench, mark: Mark, call: Calls) -> None:
        async def starting(_: Request) -> Response:
            return PlainTextResponse("Bootstrap in progress.", status_code=503, headers={"Retry-After": "1"})

        with _instead(starting) as url, pytest.raises(Outage, match="HTTP 503") as caught:
            bench.adapter(url=url).find(mark=mark, call=call())

        assert (caught.value.retry_after, caught.value.lost) == (1.0, False)

    def test_a_page_of_html_is_not_taken_for_an_empty_list(self, bench: Bench, mark: Mark, call: Calls) -> None:
        async def page(_: Request) -> Response:
            return HTMLResponse("<h1>Please log in</h1>")

        with _instead(page) as url, pytest.raises(Answered, match="not JSON"):
            bench.adapter(url=url).find(mark=mark, call=call())


@contextmanager
def _instead(answer: Callable[[Request], Any]) -> Iterator[str]:
    """A server that always gives the same answer."""
    with running(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as port:
        yield f"http://127.0.0.1:{port}/auth"


def test_one_adapter_serves_several_threads(bench: Bench, call: Calls) -> None:
    provider = bench.adapter()
    marks = [Mark(f"6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b{number:02d}", f"tenant{number}") for number in range(6)]

    def provision(mark: Mark) -> Ensured:
        return _admin(provider, mark, call(), _organization(provider, mark, call()).ref.id)

    with ThreadPoolExecutor(max_workers=6) as pool:
        outcomes = list(pool.map(provision, marks))

    assert [type(outcome) for outcome in outcomes] == [Created] * 6
    for mark, outcome in zip(marks, outcomes, strict=True):
        assert [ref.kind for ref in provider.find(mark=mark, call=call())] == ["organization", "user"]
        assert outcome.ref.name == f"jo@{mark.tenant_key}.example"
        provider.remove_admin_user(mark=mark, call=call())
        provider.remove_organization(alias=mark.tenant_key, mark=mark, call=call())
