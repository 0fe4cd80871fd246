"""Stripe's stand-in is as strict as Stripe: both directions are held to its OpenAPI description."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.serving import running
from sandbox.store import Store
from sandbox.stripe import ENDPOINTS, Stripe
from sandbox.stripe.parameters import Group, Items
from sandbox.stripe.prices import PLANS
from tests.sandbox.stripe_openapi import DESCRIPTION, Witness

KEY = "sk_test_51SandboxOnly"
ENDED = 23 * 3600


class Clock:
    """Unix seconds that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def standin(clock: Clock) -> Stripe:
    return Stripe(key=KEY, clock=clock, search_delay=60)


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
    with running(stage) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=(KEY, "")) as client:
        yield client


@pytest.fixture
def api(standin: Stripe, stage: Stage, client: httpx.Client) -> Iterator[httpx.Client]:
    """A client; whatever it does must fit Stripe's description."""
    witness = Witness(standin.app())
    stage.app = witness
    yield client
    assert witness.problems == []


def customer(api: httpx.Client, **fields: str) -> Any:
    answer = api.post("/v1/customers", data={"email": "ada@acme.test", "metadata[tenantId]": "t1", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def price_of(api: httpx.Client, plan: str) -> str:
    found = api.get("/v1/prices", params={"lookup_keys[]": plan}).json()["data"]
    return str(found[0]["id"])


def subscribed(api: httpx.Client, customer_id: str, plan: str = "basic", **fields: str) -> httpx.Response:
    return api.post(
        "/v1/subscriptions", data={"customer": customer_id, "items[0][price]": price_of(api, plan), **fields}
    )


BY_INVOICE = {"collection_method": "send_invoice", "days_until_due": "30"}


def test_customers_are_created_read_changed_and_deleted(api: httpx.Client) -> None:
    made = customer(api, name="Acme", **{"address[city]": "Ghent", "preferred_locales[0]": "nl"})
    path = f"/v1/customers/{made['id']}"

    changed = api.post(path, data={"metadata[managedBy]": "x", "metadata[tenantId]": "", "phone": "1"}).json()
    deleted = api.delete(path)

    assert (made["address"]["city"], made["preferred_locales"]) == ("Ghent", ["nl"])
    assert (changed["metadata"], changed["phone"], changed["name"]) == ({"managedBy": "x"}, "1", "Acme")
    assert deleted.json() == {"id": made["id"], "object": "customer", "deleted": True}
    assert api.get(path).json() == deleted.json()
    assert api.delete(path).status_code == 404
    assert api.post(path, data={"name": "x"}).json()["error"]["code"] == "resource_missing"
    assert api.get("/v1/customers").json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"nonsense": "1"}, "parameter_unknown", "nonsense"),
        ({"address[street]": "x"}, "parameter_unknown", "address[street]"),
        ({"balance": "many"}, "parameter_invalid_integer", "balance"),
        ({"email": "no address"}, "email_invalid", "email"),
        ({"email": "x" * 513}, None, "email"),
        ({"tax_exempt": "maybe"}, None, "tax_exempt"),
        ({"metadata": "text"}, None, "metadata"),
        ({f"metadata[{'k' * 41}]": "x"}, None, f"metadata[{'k' * 41}]"),
        ({"preferred_locales[x]": "nl"}, None, "preferred_locales"),
        ({"name[first]": "Ada"}, None, "name"),
        ({"name": "Ada", "name[first]": "Ada"}, None, "name"),
        ({"name[first]": "Ada", "name": "Ada"}, None, "name"),
        ({"preferred_locales": "nl"}, None, "preferred_locales"),
        ({"address": "Ghent"}, None, "address"),
        ({"invoice_settings[footer][x]": "y"}, None, "invoice_settings[footer]"),
        ({f"metadata[{number}]": "x" for number in range(51)}, None, "metadata"),
        ({"metadata[a][b]": "x"}, None, "metadata[a]"),
        ({"metadata[a]": "x" * 501}, None, "metadata[a]"),
        ({"balance[x]": "1"}, "parameter_invalid_integer", "balance"),
        ({"payment_method": "pm_nope"}, "resource_missing", "payment_method"),
        ({"expand[]": "sources"}, None, "expand"),
    ],
)
def test_what_stripe_does_not_know_is_refused(
    api: httpx.Client, fields: dict[str, str], code: str | None, param: str
) -> None:
    answer = api.post("/v1/customers", data=fields)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)
    assert api.get("/v1/customers").json()["data"] == []


@pytest.mark.parametrize(
    "endpoint", [e for e in ENDPOINTS if DESCRIPTION.knows(e.method, e.path)], ids=lambda e: f"{e.method} {e.path}"
)
def test_no_parameter_is_known_that_stripe_does_not_know(endpoint: Any) -> None:
    known = DESCRIPTION.knows(endpoint.method, endpoint.path)
    assert known is not None

    assert set(endpoint.parameters.fields) <= DESCRIPTION.parameter_names(endpoint.method, known)
    for name, kind in endpoint.parameters.fields.items():
        if isinstance(kind, Items) and isinstance(kind.of, Group):
            inner = {"0": {"nonsense": "1"}}
            assert DESCRIPTION.request_problems(endpoint.method, endpoint.path, {name: inner})


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"starting_after": ""}, "starting_after"),
        ({"created": "yesterday"}, "created"),
        ({"created[since]": "1"}, "created[since]"),
    ],
)
def test_a_wrong_list_is_refused(api: httpx.Client, asked: dict[str, str], param: str) -> None:
    answer = api.get("/v1/customers", params=asked)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_empty_value_takes_away(api: httpx.Client) -> None:
    made = customer(api, name="Acme", **{"address[city]": "Ghent"})
    assert api.get("/v1/customers", params={"created": made["created"]}).json()["data"] == [made]

    changed = api.post(f"/v1/customers/{made['id']}", data={"name": "", "address": "", "metadata": ""}).json()

    assert (changed["name"], changed["address"], changed["metadata"]) == (None, None, {})
    assert api.post("/v1/prices", data={"currency": "usd", "product": "prod_basic"}).status_code == 400
    flagged = {"currency": "usd", "unit_amount": "1", "product": "prod_basic", "active": "maybe"}
    assert api.post("/v1/prices", data=flagged).json()["error"]["param"] == "active"


def test_the_description_does_forbid_something() -> None:
    wrong = {"email": "a@b.test", "address": {"street": "x"}, "balance": "many"}
    half = {"object": "list", "data": [{"id": "cus_1", "object": "customer", "livemode": "no"}], "url": "/v1/customers"}

    assert len(DESCRIPTION.request_problems("POST", "/v1/customers", wrong)) == 2
    assert len(DESCRIPTION.answer_problems("GET", "/v1/customers", 200, half)) == 3


def test_the_credential_is_checked_in_both_forms(api: httpx.Client) -> None:
    def status(header: str | None) -> int:
        request = api.build_request("GET", "/v1/customers", headers={"Authorization": header} if header else {})
        return api.send(request, auth=None).status_code

    assert status(None) == 401
    assert status("Bearer sk_test_wrong") == 401
    assert status("Basic !") == 401
    assert status("Basic " + base64.b64encode(b"sk_test_wrong:").decode()) == 401
    assert status(f"Bearer {KEY}") == 200
    assert status("Basic " + base64.b64encode(f"{KEY}:".encode()).decode()) == 200


def test_a_wrong_key_is_not_repeated(api: httpx.Client) -> None:
    answer = api.get("/v1/customers", auth=("sk_test_somebodys_secret", ""))

    assert answer.status_code == 401
    assert "secret" not in answer.text


def test_unknown_addresses_and_bodies_are_refused(api: httpx.Client) -> None:
    assert api.get("/v1/nonsense").json()["error"]["message"] == "Unrecognized request URL (GET: /v1/nonsense)."
    assert api.put("/v1/customers").status_code == 404
    assert api.post("/v1/customers", json={"name": "x"}).status_code == 400
    assert api.get("/v1/customers", headers={"Stripe-Version": "yesterday"}).status_code == 400


def test_the_version_is_echoed_and_every_request_has_an_id(api: httpx.Client) -> None:
    one = api.get("/v1/customers", headers={"Stripe-Version": "2025-01-27.acacia"})
    other = api.get("/v1/customers")

    assert one.headers["Stripe-Version"] == "2025-01-27.acacia"
    assert one.headers["Request-Id"].startswith("req_")
    assert one.headers["Request-Id"] != other.headers["Request-Id"]


def test_a_list_is_newest_first_in_pages(api: httpx.Client, clock: Clock) -> None:
    ids = []
    for _ in range(5):
        ids.append(customer(api)["id"])
        clock.now += 10
    newest = ids[::-1]

    first = api.get("/v1/customers", params={"limit": 2}).json()
    second = api.get("/v1/customers", params={"limit": 2, "starting_after": first["data"][-1]["id"]}).json()
    back = api.get("/v1/customers", params={"limit": 1, "ending_before": newest[2]}).json()
    since = api.get("/v1/customers", params={"created[gte]": int(clock.now) - 20}).json()

    assert [one["id"] for one in first["data"] + second["data"]] == newest[:4]
    assert (first["has_more"], second["has_more"]) == (True, True)
    assert [one["id"] for one in back["data"]] == [newest[1]]
    assert [one["id"] for one in since["data"]] == newest[:2]
    assert api.get("/v1/customers", params={"starting_after": "cus_nope"}).status_code == 400
    assert api.get("/v1/customers", params={"limit": 101}).status_code == 400


def test_the_filter_by_email_minds_the_case(api: httpx.Client) -> None:
    customer(api, email="Ada@acme.test")

    assert api.get("/v1/customers", params={"email": "ada@acme.test"}).json()["data"] == []
    assert len(api.get("/v1/customers", params={"email": "Ada@acme.test"}).json()["data"]) == 1


def found(api: httpx.Client, query: str) -> list[str]:
    answer = api.get("/v1/customers/search", params={"query": query})
    assert answer.status_code == 200, answer.text
    return [str(one["id"]) for one in answer.json()["data"]]


def test_search_knows_a_change_only_after_its_delay(api: httpx.Client, clock: Clock) -> None:
    made = customer(api)["id"]
    assert found(api, "metadata['tenantId']:'t1'") == []

    clock.now += 60
    assert found(api, "metadata['tenantId']:'t1'") == [made]

    api.post(f"/v1/customers/{made}", data={"metadata[tenantId]": "t2"})
    clock.now += 59
    assert found(api, "metadata['tenantId']:'t1'") == [made]
    clock.now += 1
    assert (found(api, "metadata['tenantId']:'t1'"), found(api, 'metadata["tenantId"]:"t2"')) == ([], [made])

    api.delete(f"/v1/customers/{made}")
    assert found(api, "metadata['tenantId']:'t2'") == []


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("email:'ADA@acme.test'", {"ada"}),
        ("email~'acme'", {"ada", "bob"}),
        ("-email~'bob' AND email~'acme'", {"ada"}),
        ("name:'Ada' OR name:'Carl'", {"ada", "carl"}),
        ("name:null", {"bob"}),
        ("email~'acme' name:'Ada'", {"ada"}),
        ("created>1 AND -metadata['tenantId']:null", {"ada", "bob"}),
        (r"name:'O\'Hara'", set()),
    ],
)
def test_the_query_language(api: httpx.Client, clock: Clock, query: str, finds: set[str]) -> None:
    ids = {
        customer(api, name="Ada")["id"]: "ada",
        customer(api, email="bob@acme.test")["id"]: "bob",
        customer(api, email="carl@other.test", name="Carl", **{"metadata[tenantId]": ""})["id"]: "carl",
    }
    clock.now += 60

    assert {ids[one] for one in found(api, query)} == finds


@pytest.mark.parametrize(
    "query",
    [
        "",
        "nonsense",
        "email='x'",
        "email:x",
        "metadata:'x'",
        "created~3",
        "a:'b' OR",
        "email:'a' AND email:'b' OR email:'c'",
    ],
)
def test_a_query_that_is_none_is_refused(api: httpx.Client, query: str) -> None:
    assert api.get("/v1/customers/search", params={"query": query}).status_code == 400


def test_search_has_pages_of_its_own(api: httpx.Client, clock: Clock) -> None:
    ids = [customer(api)["id"] for _ in range(3)][::-1]
    clock.now += 60
    asked = {"query": "metadata['tenantId']:'t1'", "limit": "2"}

    first = api.get("/v1/customers/search", params=asked).json()
    second = api.get("/v1/customers/search", params={**asked, "page": first["next_page"]}).json()

    assert [one["id"] for one in first["data"] + second["data"]] == ids
    assert (first["has_more"], second["has_more"], second["next_page"]) == (True, False, None)
    assert api.get("/v1/customers/search", params={**asked, "page": "x"}).status_code == 400


def keyed(api: httpx.Client, key: str, path: str = "/v1/customers", **fields: str) -> httpx.Response:
    return api.post(path, data=fields, headers={"Idempotency-Key": key})


def test_the_same_key_is_answered_the_same(api: httpx.Client) -> None:
    first = keyed(api, "k", name="Acme")
    again = keyed(api, "k", name="Acme")

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert len(api.get("/v1/customers").json()["data"]) == 1


def test_the_same_key_for_something_else_is_refused(api: httpx.Client) -> None:
    keyed(api, "k", name="Acme")

    other_body = keyed(api, "k", name="Other")
    other_path = keyed(api, "k", "/v1/products", name="Acme")

    assert (other_body.status_code, other_body.json()["error"]["type"]) == (400, "idempotency_error")
    assert (other_path.status_code, other_path.json()["error"]["type"]) == (400, "idempotency_error")
    assert keyed(api, "k" * 256, name="Acme").status_code == 400


def test_a_key_remembers_errors_but_not_refused_parameters(api: httpx.Client) -> None:
    assert keyed(api, "k", nonsense="1").status_code == 400
    assert keyed(api, "k", name="Acme").status_code == 200

    ada = customer(
        api, payment_method="pm_card_visa", **{"invoice_settings[default_payment_method]": "pm_card_chargeCustomerFail"}
    )
    wanted = {
        "customer": ada["id"],
        "items[0][price]": price_of(api, "basic"),
        "payment_behavior": "error_if_incomplete",
    }
    declined = keyed(api, "s", "/v1/subscriptions", **wanted)
    api.post(f"/v1/customers/{ada['id']}", data={"invoice_settings[default_payment_method]": "pm_card_visa"})
    again = keyed(api, "s", "/v1/subscriptions", **wanted)
    fresh = keyed(api, "s2", "/v1/subscriptions", **wanted)

    assert (declined.status_code, declined.json()["error"]["code"]) == (402, "card_declined")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (402, "true")
    assert fresh.json()["status"] == "active"


def test_a_key_is_forgotten_after_a_day(api: httpx.Client, clock: Clock) -> None:
    first = keyed(api, "k", name="Acme").json()
    clock.now += 24 * 3600 + 1

    assert keyed(api, "k", name="Acme").json()["id"] != first["id"]


def test_a_key_in_use_is_a_conflict(stage: Stage, client: httpx.Client) -> None:
    stage.app = Stripe(key=KEY, write_takes=0.3).app()
    with ThreadPoolExecutor() as pool:
        answers = [answer.result() for answer in [pool.submit(keyed, client, "k", name="Acme") for _ in range(2)]]
    made = client.get("/v1/customers").json()["data"]

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert {answer.json().get("error", {}).get("code") for answer in answers} == {None, "idempotency_key_in_use"}
    assert len(made) == 1


@pytest.mark.parametrize("plan", [*PLANS, *(f"plan-{plan}" for plan in PLANS)])
def test_every_plan_has_a_price_from_the_start(api: httpx.Client, plan: str) -> None:
    price = api.get("/v1/prices", params={"lookup_keys[]": plan, "active": "true"}).json()["data"]

    assert [(one["lookup_key"], one["unit_amount"]) for one in price] == [(plan, PLANS[plan.removeprefix("plan-")])]
    assert api.get(f"/v1/products/{price[0]['product']}").json()["active"]
    assert api.get(f"/v1/prices/{price[0]['id']}").json() == price[0]


def test_a_lookup_key_belongs_to_one_price(api: httpx.Client) -> None:
    wanted = {"currency": "eur", "unit_amount": "5", "recurring[interval]": "month", "product_data[name]": "Own"}
    first = api.post("/v1/prices", data={**wanted, "lookup_key": "own"}).json()

    taken = api.post("/v1/prices", data={**wanted, "lookup_key": "own"})
    moved = api.post("/v1/prices", data={**wanted, "lookup_key": "own", "transfer_lookup_key": "true"}).json()

    assert (taken.status_code, taken.json()["error"]["param"]) == (400, "lookup_key")
    assert price_of(api, "own") == moved["id"] != first["id"]
    assert api.post("/v1/prices", data={"unit_amount": "5"}).json()["error"]["param"] == "currency"
    assert api.post("/v1/prices", data={**wanted, "product": "prod_basic"}).status_code == 400


def test_a_subscription_lives_and_is_canceled(api: httpx.Client) -> None:
    ada = customer(api)["id"]
    made = subscribed(api, ada, "plan-premium", **BY_INVOICE, **{"metadata[tenantId]": "t1"}).json()
    path = f"/v1/subscriptions/{made['id']}"

    assert (made["status"], made["items"]["data"][0]["price"]["lookup_key"]) == ("active", "plan-premium")
    assert api.post(path, data={"metadata[x]": "1"}).json()["metadata"] == {"tenantId": "t1", "x": "1"}
    assert api.delete(path, params={"prorate": "true"}).json()["status"] == "canceled"
    assert api.delete(path).status_code == 404
    assert api.get(path).json()["status"] == "canceled"
    assert api.post(path, data={"description": "x"}).status_code == 400
    assert api.get("/v1/subscriptions", params={"customer": ada}).json()["data"] == []
    for status in ("all", "ended", "canceled"):
        listed = api.get("/v1/subscriptions", params={"customer": ada, "status": status}).json()["data"]
        assert [one["id"] for one in listed] == [made["id"]]


def test_a_subscription_wants_something_to_charge(api: httpx.Client) -> None:
    poor = customer(api)["id"]
    rich = customer(api, **{"invoice_settings[default_payment_method]": "pm_card_visa"})["id"]

    assert subscribed(api, poor).json()["error"]["code"] == "resource_missing"
    assert subscribed(api, poor, "free").json()["status"] == "active"
    assert subscribed(api, poor, trial_period_days="14").json()["status"] == "trialing"
    assert subscribed(api, poor, payment_behavior="default_incomplete").json()["status"] == "incomplete"
    assert subscribed(api, rich).json()["status"] == "active"
    assert subscribed(api, rich, default_payment_method="pm_card_chargeCustomerFail").json()["status"] == "incomplete"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"customer": "cus_nope"}, "customer"),
        ({"items[0][price]": "price_nope"}, "items[0][price]"),
        ({"items[0][nonsense]": "1"}, "items[0][nonsense]"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"days_until_due": "3"}, "days_until_due"),
        ({"default_payment_method": "pm_nope"}, "default_payment_method"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(api: httpx.Client, fields: dict[str, str], param: str) -> None:
    answer = subscribed(api, customer(api)["id"], **fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_one_time_and_switched_off_prices_cannot_be_subscribed_to(api: httpx.Client) -> None:
    ada = customer(api)["id"]
    once = api.post("/v1/prices", data={"currency": "usd", "unit_amount": "5", "product": "prod_basic"}).json()["id"]
    off = {
        "active": "false",
        "recurring[interval]": "year",
        "currency": "usd",
        "unit_amount": "5",
        "product": "prod_basic",
    }
    unused = api.post("/v1/prices", data=off).json()["id"]

    for price in (once, unused):
        answer = api.post("/v1/subscriptions", data={"customer": ada, "items[0][price]": price})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "items[0][price]")


def test_what_was_never_paid_is_given_up_after_23_hours(api: httpx.Client, clock: Clock) -> None:
    ada = customer(api)["id"]
    made = subscribed(api, ada, payment_behavior="default_incomplete").json()["id"]
    clock.now += ENDED

    assert api.get(f"/v1/subscriptions/{made}").json()["status"] == "incomplete_expired"
    assert api.get("/v1/subscriptions", params={"customer": ada}).json()["data"] == []


def test_deleting_a_customer_ends_its_subscriptions(api: httpx.Client) -> None:
    ada, bob = customer(api)["id"], customer(api)["id"]
    of_ada = subscribed(api, ada, **BY_INVOICE).json()["id"]
    of_bob = subscribed(api, bob, **BY_INVOICE).json()["id"]

    api.delete(f"/v1/customers/{ada}")

    assert api.get(f"/v1/subscriptions/{of_ada}").json()["status"] == "canceled"
    assert api.get(f"/v1/subscriptions/{of_bob}").json()["status"] == "active"
    assert subscribed(api, ada, **BY_INVOICE).json()["error"]["code"] == "resource_missing"


def test_the_state_lists_what_a_tenant_owns(api: httpx.Client) -> None:
    marked = {"metadata[tenantKey]": "acme", "metadata[managedBy]": "tenant-pipelines"}
    ada = customer(api, name="Acme", **marked)["id"]
    sub = subscribed(api, ada, **BY_INVOICE, **marked).json()["id"]
    by_hand = customer(api, email="boss@acme.test")["id"]
    customer(api, email="x@neighbour.test", **{"metadata[tenantKey]": "neighbour"})

    def state() -> set[tuple[str, str, bool]]:
        shown = api.get("/_sandbox/state", params={"tenant": "acme"}).json()["objects"]
        return {(one["kind"], one["id"], one["ours"]) for one in shown}

    assert state() == {("customer", ada, True), ("subscription", sub, True), ("customer", by_hand, False)}
    for gone in (ada, by_hand):
        api.delete(f"/v1/customers/{gone}")
    assert state() == set()


@pytest.mark.parametrize(("mode", "status"), [("rate_limited", 429), ("server_error", 500), ("unauthorized", 401)])
def test_faults_are_worded_as_stripe_words_them(api: httpx.Client, mode: str, status: int) -> None:
    api.put("/_sandbox/faults", json=[{"operation": "GET /v1/customers/*", "mode": mode, "times": 1}])

    answer = api.get("/v1/customers/cus_x")

    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_half_done_leaves_the_object_and_a_key_that_answers_the_error(api: httpx.Client) -> None:
    api.put("/_sandbox/faults", json=[{"operation": "POST /v1/customers", "mode": "half_done", "times": 1}])

    broken = keyed(api, "k", name="Acme")
    again = keyed(api, "k", name="Acme")

    assert (broken.status_code, again.status_code, again.headers["Idempotent-Replayed"]) == (500, 500, "true")
    assert len(api.get("/v1/customers").json()["data"]) == 1


def test_everything_survives_a_restart(stage: Stage, client: httpx.Client, tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path / "stripe.sqlite")
    stage.app = Stripe(store, key=KEY, clock=clock).app()
    first = keyed(client, "k", name="Acme", email="ada@acme.test").json()
    prices = client.get("/v1/prices", params={"limit": 100}).json()
    store.close()
    clock.now += 1

    store = Store(tmp_path / "stripe.sqlite")
    stage.app = Stripe(store, key=KEY, clock=clock).app()

    assert keyed(client, "k", name="Acme", email="ada@acme.test").json() == first
    assert found(client, "email:'ada@acme.test'") == [first["id"]]
    assert client.get("/v1/prices", params={"limit": 100}).json() == prices
    assert customer(client)["id"] != first["id"]
    store.close()
