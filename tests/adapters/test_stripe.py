"""The contract of the Stripe adapter, with the real client library over a real socket.

Against Stripe itself (a test account): TENANT_PIPELINES_TEST_STRIPE_URL=https://api.stripe.com and
TENANT_PIPELINES_TEST_STRIPE_KEY=sk_test_…; prices with the lookup keys basic and premium must be there. The tests
that need the fault switch, or look behind the curtain, are skipped then.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.serving import running
from sandbox.stripe import Stripe as StandIn
from tenant_pipelines.adapters.stripe import Stripe, StripeAccess
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, NothingToRemove, NotOurs, ObjectRef, Removed
from tenant_pipelines.domain.ports import Billing
from tests.conftest import Fence, FenceLowered
from tests.sandbox.stripe_openapi import Witness

REAL = os.environ.get("TENANT_PIPELINES_TEST_STRIPE_URL")
KEY = os.environ.get("TENANT_PIPELINES_TEST_STRIPE_KEY", "sk_test_51SandboxOnly")
OF_THE_SANDBOX = pytest.mark.skipif(REAL is not None, reason="needs the fault switch of the stand-in")
EMAIL = f"ada-{uuid.uuid4().hex[:8]}@acme.test"
Calls = Callable[..., Call]


class Stage:
    """One server for the whole module; each test puts its own stand-in on it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@dataclass
class World:
    """Stripe as a test sees it from outside."""

    url: str
    api: httpx.Client
    standin: StandIn | None
    exchanges: Sequence[tuple[str, str, int]] = ()

    def make(self, path: str, **fields: str) -> str:
        answer = self.api.post(path, data=fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def look(self, path: str) -> Any:
        return self.api.get(path).json()

    def customers(self, email: str = EMAIL) -> list[Any]:
        found: list[Any] = self.api.get("/v1/customers", params={"email": email, "limit": 100}).json()["data"]
        return found

    def subscriptions(self, customer: str) -> list[Any]:
        params = {"customer": customer, "status": "all"}
        found: list[Any] = self.api.get("/v1/subscriptions", params=params).json()["data"]
        return found

    def price(self, plan: str) -> str:
        return str(self.api.get("/v1/prices", params={"lookup_keys[]": plan}).json()["data"][0]["id"])

    def break_(self, operation: str, mode: str, times: int = 1) -> None:
        faults = [{"operation": operation, "mode": mode, "times": times}]
        assert self.api.put("/_sandbox/faults", json=faults).status_code == 200

    def writes(self) -> list[tuple[str, str, int]]:
        return [one for one in self.exchanges if one[0] != "GET"]


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
    with httpx.Client(base_url=url, auth=(KEY, ""), timeout=30) as client:
        yield client


@pytest.fixture
def world(stage: Stage, url: str, api: httpx.Client) -> Iterator[World]:
    """Everything that goes over the wire must fit Stripe's description."""
    if REAL:
        yield World(url, api, None)
        for customer in World(url, api, None).customers():
            api.delete(f"/v1/customers/{customer['id']}")
        return
    standin = StandIn(key=KEY, search_delay=3600)
    witness = Witness(standin.app())
    stage.app = witness
    yield World(url, api, standin, witness.exchanges)
    assert witness.problems == []


@pytest.fixture
def billing(world: World) -> Stripe:
    adapter = Stripe(StripeAccess(KEY, world.url, dashboard="https://dashboard.stripe.com/test"))
    fulfils: Billing = adapter
    assert fulfils is adapter
    return adapter


@pytest.fixture
def ensured(billing: Stripe, mark: Mark, call: Calls) -> Callable[..., Any]:
    """Makes sure of the tenant's customer, by a call of its own each time."""

    def ensure(*, email: str = EMAIL, linked_id: str | None = None, by: Call | None = None) -> Any:
        return billing.ensure_customer(name="Acme", email=email, linked_id=linked_id, mark=mark, call=by or call())

    return ensure


def test_a_customer_is_created_with_the_mark(world: World, ensured: Callable[..., Any], mark: Mark) -> None:
    made = ensured()

    assert isinstance(made, Created)
    [customer] = world.customers()
    assert (customer["name"], customer["email"], customer["metadata"]) == ("Acme", EMAIL, mark.labels())
    link = f"https://dashboard.stripe.com/test/customers/{customer['id']}"
    assert made.ref == ObjectRef("stripe", "customer", "Acme", customer["id"], link)
    assert made.facts == {"stripeCustomerId": customer["id"]}


def test_a_customer_is_adopted_by_its_mark(world: World, ensured: Callable[..., Any], call: Calls) -> None:
    made = ensured()
    again = ensured(by=call(key="another generation"))

    assert isinstance(again, Adopted)
    assert again.ref == made.ref
    assert len(world.customers()) == 1


def test_a_customer_made_by_hand_with_the_tenants_id_is_adopted(
    world: World, ensured: Callable[..., Any], mark: Mark
) -> None:
    fields = {"metadata[tenantId]": mark.tenant_id, "metadata[note]": "kept", "name": "By hand"}
    by_hand = world.make("/v1/customers", email=EMAIL, **fields)

    adopted = ensured()

    assert isinstance(adopted, Adopted)
    assert adopted.ref.id == by_hand
    found = world.look(f"/v1/customers/{by_hand}")
    assert (found["metadata"], found["name"]) == ({**mark.labels(), "note": "kept"}, "By hand")


@OF_THE_SANDBOX
def test_a_customer_whose_email_has_changed_is_found_by_search(
    stage: Stage, url: str, api: httpx.Client, mark: Mark, call: Calls
) -> None:
    stage.app = StandIn(key=KEY, search_delay=0).app()
    billing = Stripe(StripeAccess(KEY, url))
    made = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())
    api.post(f"/v1/customers/{made.ref.id}", data={"email": "billing@acme.test"})

    again = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())

    assert isinstance(again, Adopted)
    assert again.ref.id == made.ref.id


@OF_THE_SANDBOX
def test_what_the_search_remembers_is_looked_at_again(
    stage: Stage, url: str, api: httpx.Client, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    now = [1_790_000_000.0]
    stage.app = StandIn(key=KEY, search_delay=60, clock=lambda: now[0]).app()
    billing = Stripe(StripeAccess(KEY, url))
    made = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())
    now[0] += 60
    fields = {"metadata[tenantId]": neighbour.tenant_id, "email": "other@acme.test"}
    api.post(f"/v1/customers/{made.ref.id}", data=fields)

    again = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call(key="another"))

    assert isinstance(again, Created)
    assert api.get(f"/v1/customers/{made.ref.id}").json()["metadata"]["tenantId"] == neighbour.tenant_id


def test_of_two_customers_the_older_one_is_taken(world: World, ensured: Callable[..., Any], mark: Mark) -> None:
    ids = {world.make("/v1/customers", email=EMAIL, **{"metadata[tenantId]": mark.tenant_id}) for _ in range(2)}

    assert {ensured().ref.id, ensured().ref.id} == {
        min(ids, key=lambda one: (world.look(f"/v1/customers/{one}")["created"], one))
    }
    assert len(world.customers()) == 2


def test_a_customer_without_tenant_is_a_conflict_and_left_alone(
    world: World, ensured: Callable[..., Any], mark: Mark
) -> None:
    foreign = world.make("/v1/customers", email=EMAIL, name="Somebody Else")
    before = world.look(f"/v1/customers/{foreign}")

    with pytest.raises(ResourceAlreadyExists) as refused:
        ensured()

    assert foreign in str(refused.value)
    assert "Somebody" not in str(refused.value)
    assert refused.value.way_out == (
        "UPDATE tenant_management.tenants "
        f"""SET metadata = metadata || '{{"stripeCustomerId": "{foreign}"}}'::jsonb """
        f"WHERE id = '{mark.tenant_id}';"
    )
    assert world.look(f"/v1/customers/{foreign}") == before
    assert len(world.customers()) == 1


def test_another_tenants_customer_with_the_same_email_is_no_conflict(
    world: World, ensured: Callable[..., Any], neighbour: Mark
) -> None:
    theirs = world.make("/v1/customers", email=EMAIL, **{"metadata[tenantId]": neighbour.tenant_id})
    before = world.look(f"/v1/customers/{theirs}")

    made = ensured()

    assert isinstance(made, Created)
    assert made.ref.id != theirs
    assert world.look(f"/v1/customers/{theirs}") == before


def test_the_operators_link_makes_a_customer_ours(world: World, ensured: Callable[..., Any], mark: Mark) -> None:
    foreign = world.make("/v1/customers", email=EMAIL, name="Acme Holding", **{"metadata[crm]": "7"})

    linked = ensured(linked_id=foreign)

    assert isinstance(linked, Adopted)
    assert linked.ref.id == foreign
    found = world.look(f"/v1/customers/{foreign}")
    assert (found["metadata"], found["name"]) == ({**mark.labels(), "crm": "7"}, "Acme Holding")
    assert ensured().ref.id == foreign


@pytest.mark.parametrize("linked_id", ["cus_nope", "cus_x/../../prices", "deleted"])
def test_a_link_to_nothing_is_named(world: World, ensured: Callable[..., Any], mark: Mark, linked_id: str) -> None:
    if linked_id == "deleted":
        linked_id = world.make("/v1/customers", email=EMAIL)
        world.api.delete(f"/v1/customers/{linked_id}")

    with pytest.raises(ResourceNotFound) as refused:
        ensured(linked_id=linked_id)

    assert "to which tenant acme is linked, does not exist or was deleted" in str(refused.value)
    assert mark.tenant_id in str(refused.value.way_out)
    assert world.customers() == []


def test_a_link_to_another_tenants_customer_is_refused(
    world: World, ensured: Callable[..., Any], neighbour: Mark
) -> None:
    fields = {f"metadata[{name}]": value for name, value in neighbour.labels().items()}
    theirs = world.make("/v1/customers", email=EMAIL, **fields)

    with pytest.raises(ResourceAlreadyExists) as refused:
        ensured(linked_id=theirs)

    assert theirs in str(refused.value)
    assert neighbour.tenant_id not in str(refused.value)
    assert neighbour.tenant_key not in str(refused.value)
    assert world.look(f"/v1/customers/{theirs}")["metadata"] == neighbour.labels()


@pytest.fixture
def subscribe(billing: Stripe, ensured: Callable[..., Any], mark: Mark, call: Calls) -> Callable[..., Any]:
    """Makes sure of customer and subscription."""

    def ensure(*, plan: str = "basic", customer_id: str | None = None, by: Call | None = None) -> Any:
        customer = customer_id or ensured().ref.id
        return billing.ensure_subscription(customer_id=customer, plan_id=plan, mark=mark, call=by or call())

    return ensure


def test_a_subscription_is_created_with_the_mark(
    world: World, ensured: Callable[..., Any], subscribe: Callable[..., Any], mark: Mark
) -> None:
    made = subscribe(plan="premium")

    assert isinstance(made, Created)
    [subscription] = world.subscriptions(ensured().ref.id)
    assert (made.ref.id, made.facts) == (subscription["id"], {"plan": "premium", "status": "active"})
    assert subscription["metadata"] == mark.labels()
    assert subscription["items"]["data"][0]["price"]["lookup_key"] == "premium"


def test_a_subscription_is_adopted_by_its_mark_whatever_its_price(
    world: World, subscribe: Callable[..., Any], mark: Mark, ensured: Callable[..., Any]
) -> None:
    made = subscribe()
    world.make(f"/v1/subscriptions/{made.ref.id}", **{"metadata[tenantKey]": ""})

    again = subscribe(plan="premium")

    assert isinstance(again, Adopted)
    assert again.ref == made.ref
    [subscription] = world.subscriptions(ensured().ref.id)
    assert subscription["metadata"] == mark.labels()


def test_a_canceled_subscription_is_not_adopted(
    world: World, subscribe: Callable[..., Any], ensured: Callable[..., Any], call: Calls
) -> None:
    made = subscribe()
    world.api.delete(f"/v1/subscriptions/{made.ref.id}")

    within_the_generation = subscribe()
    world.api.delete(f"/v1/subscriptions/{within_the_generation.ref.id}")
    in_the_next = subscribe(by=call(key="next"))

    assert isinstance(within_the_generation, Created)
    assert isinstance(in_the_next, Created)
    assert len(world.subscriptions(ensured().ref.id)) == 3


def test_a_plan_without_price_is_named(
    world: World, subscribe: Callable[..., Any], ensured: Callable[..., Any]
) -> None:
    with pytest.raises(InvalidConfiguration, match="no active price with the lookup key plan-of-nobody"):
        subscribe(plan="plan-of-nobody")

    assert world.subscriptions(ensured().ref.id) == []


def test_nothing_is_billed_twice(world: World, subscribe: Callable[..., Any], ensured: Callable[..., Any]) -> None:
    customer = ensured().ref.id
    invoiced = {"collection_method": "send_invoice", "days_until_due": "30"}
    for plan in ("premium", "basic"):
        by_hand = world.make(
            "/v1/subscriptions", customer=customer, **invoiced, **{"items[0][price]": world.price(plan)}
        )

    with pytest.raises(ResourceAlreadyExists, match=by_hand):
        subscribe(plan="basic")

    assert len(world.subscriptions(customer)) == 2


def test_a_subscription_needs_its_customer(world: World, subscribe: Callable[..., Any]) -> None:
    with pytest.raises(ResourceNotFound):
        subscribe(customer_id="cus_nope")


def test_find_answers_what_carries_the_mark_and_lives(
    world: World,
    billing: Stripe,
    subscribe: Callable[..., Any],
    ensured: Callable[..., Any],
    mark: Mark,
    neighbour: Mark,
    call: Calls,
) -> None:
    world.make("/v1/customers", email=EMAIL, **{"metadata[tenantId]": neighbour.tenant_id})
    subscription = subscribe()
    customer = ensured()

    assert billing.find(mark=mark, call=call()) == [customer.ref, subscription.ref]
    world.api.delete(f"/v1/subscriptions/{subscription.ref.id}")
    assert billing.find(mark=mark, call=call()) == [customer.ref]
    world.api.delete(f"/v1/customers/{customer.ref.id}")
    assert billing.find(mark=mark, call=call()) == []


@OF_THE_SANDBOX
def test_find_reads_every_page(world: World, billing: Stripe, mark: Mark, call: Calls) -> None:
    for number in range(101):
        world.make("/v1/customers", email=f"{number}@acme.test", **{"metadata[tenantId]": mark.tenant_id})

    assert len(billing.find(mark=mark, call=call())) == 101


def test_remove_cancels_and_deletes_and_does_so_once(
    world: World,
    billing: Stripe,
    subscribe: Callable[..., Any],
    ensured: Callable[..., Any],
    mark: Mark,
    neighbour: Mark,
    call: Calls,
) -> None:
    theirs = world.make("/v1/customers", email=EMAIL, **{"metadata[tenantId]": neighbour.tenant_id})
    subscription, customer = subscribe(), ensured()

    removed = billing.remove(customer_id=customer.ref.id, mark=mark, call=call())
    again = billing.remove(customer_id=customer.ref.id, mark=mark, call=call())

    assert removed == [Removed(subscription.ref), Removed(customer.ref)]
    assert [type(one) for one in again] == [NothingToRemove]
    assert again[0].ref.id == customer.ref.id
    assert billing.remove(customer_id=None, mark=mark, call=call()) == []
    assert [one["id"] for one in world.customers()] == [theirs]


@pytest.mark.parametrize("owner", ["nobody", "neighbour"])
def test_remove_leaves_a_customer_that_is_not_ours(
    world: World, billing: Stripe, mark: Mark, neighbour: Mark, call: Calls, owner: str
) -> None:
    fields = {"metadata[tenantId]": neighbour.tenant_id} if owner == "neighbour" else {}
    foreign = world.make("/v1/customers", email=EMAIL, **fields)

    answer = billing.remove(customer_id=foreign, mark=mark, call=call())

    assert [(type(one), one.ref.id) for one in answer] == [(NotOurs, foreign)]
    assert [one["id"] for one in world.customers()] == [foreign]


@OF_THE_SANDBOX
def test_remove_knows_the_recorded_customer_before_the_search_does(
    stage: Stage, url: str, api: httpx.Client, mark: Mark, call: Calls
) -> None:
    """An old customer, linked a moment ago: neither the search nor the list of new customers has it."""
    now = [1_790_000_000.0]
    stage.app = StandIn(key=KEY, search_delay=3600, clock=lambda: now[0]).app()
    old = api.post("/v1/customers", data={"email": EMAIL}).json()["id"]
    now[0] += 2 * 3600
    billing = Stripe(StripeAccess(KEY, url), clock=lambda: now[0])
    linked = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=old, mark=mark, call=call())
    assert billing.find(mark=mark, call=call()) == []

    removed = billing.remove(customer_id=old, mark=mark, call=call())

    assert [(type(one), one.ref.id) for one in removed] == [(Removed, linked.ref.id)]
    assert api.get(f"/v1/customers/{old}").json()["deleted"]


@OF_THE_SANDBOX
def test_what_somebody_else_removes_meanwhile_is_gone(stage: Stage, url: str, mark: Mark, call: Calls) -> None:
    inner = StandIn(key=KEY).app()

    async def too_late(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "DELETE":
            body = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "x"}}
            await JSONResponse(body, 404)(scope, receive, send)
        else:
            await inner(scope, receive, send)

    stage.app = too_late
    billing = Stripe(StripeAccess(KEY, url))
    customer = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())
    made = billing.ensure_subscription(customer_id=customer.ref.id, plan_id="basic", mark=mark, call=call())

    removed = billing.remove(customer_id=None, mark=mark, call=call())

    assert removed == [NothingToRemove(made.ref), NothingToRemove(customer.ref)]


def test_remove_leaves_a_customer_that_pays_for_something_else(
    world: World, billing: Stripe, subscribe: Callable[..., Any], ensured: Callable[..., Any], mark: Mark, call: Calls
) -> None:
    subscription, customer = subscribe(), ensured()
    fields = {"collection_method": "send_invoice", "days_until_due": "30", "items[0][price]": world.price("premium")}
    other = world.make("/v1/subscriptions", customer=customer.ref.id, **fields)

    removed = billing.remove(customer_id=None, mark=mark, call=call())

    assert removed == [Removed(subscription.ref), NotOurs(customer.ref)]
    assert world.look(f"/v1/subscriptions/{other}")["status"] == "active"
    assert len(world.customers()) == 1


@OF_THE_SANDBOX
def test_the_fence_is_asked_before_every_write(
    world: World, billing: Stripe, subscribe: Callable[..., Any], mark: Mark, fence: Fence, call: Calls
) -> None:
    subscription = subscribe()
    world.make(f"/v1/subscriptions/{subscription.ref.id}", **{"metadata[tenantKey]": ""})
    subscribe()
    billing.remove(customer_id=None, mark=mark, call=call())

    by_the_test = 1
    assert fence.asked == len(world.writes()) - by_the_test == 5


def test_nothing_is_written_behind_a_lowered_fence(
    world: World,
    billing: Stripe,
    subscribe: Callable[..., Any],
    ensured: Callable[..., Any],
    mark: Mark,
    fence: Fence,
    call: Calls,
) -> None:
    foreign = world.make("/v1/customers", email="linked@acme.test")
    fence.lowered = True
    for linked_id in (None, foreign):
        with pytest.raises(FenceLowered):
            ensured(linked_id=linked_id)
    assert (world.customers(), world.look(f"/v1/customers/{foreign}")["metadata"]) == ([], {})

    fence.lowered = False
    customer = ensured().ref.id
    fence.lowered = True
    with pytest.raises(FenceLowered):
        subscribe(customer_id=customer)
    with pytest.raises(FenceLowered):
        billing.remove(customer_id=customer, mark=mark, call=call())
    assert (len(world.customers()), world.subscriptions(customer)) == (1, [])
    world.api.delete(f"/v1/customers/{foreign}")


def test_no_request_without_time(ensured: Callable[..., Any], world: World, call: Calls) -> None:
    with pytest.raises(DeadlinePassed):
        ensured(by=call(seconds=-1))

    assert world.exchanges == [] or REAL


class Impatient(Call):
    """Has time, and gives each request very little of it."""

    def seconds_left(self, at_most: float = 30.0) -> float:
        return Call.seconds_left(self, min(at_most, 0.3))


@pytest.fixture
def impatient(fence: Fence) -> Call:
    return Impatient("6f2b7c3e:1:step", time.monotonic() + 20, fence)


WRITES = ["POST /v1/customers", "POST /v1/subscriptions"]
READS = ["GET /v1/customers", "GET /v1/customers/search", "GET /v1/prices", "GET /v1/subscriptions"]
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
    ("operation", "mode"),
    [(write, mode) for write in WRITES for mode in SAYS]
    + [(read, mode) for read in READS for mode in ("refuse", "server_error")]
    + [(READS[0], "timeout_before")],
)
def test_an_outage_heals_by_the_next_attempt(
    world: World,
    subscribe: Callable[..., Any],
    ensured: Callable[..., Any],
    impatient: Call,
    operation: str,
    mode: str,
) -> None:
    world.break_(operation, mode)

    with pytest.raises(Outage) as outage:
        subscribe(customer_id=ensured(by=impatient).ref.id, by=impatient)
    subscribe()

    assert SAYS[mode] in str(outage.value)
    assert outage.value.lost == (mode != "rate_limited" and operation in WRITES)
    assert outage.value.retry_after == (1.0 if mode == "rate_limited" else None)
    [customer] = world.customers()
    assert len(world.subscriptions(customer["id"])) == 1


@OF_THE_SANDBOX
@pytest.mark.parametrize("mode", ["timeout_after", "half_done"])
def test_what_a_lost_answer_made_is_removed_too(
    world: World,
    billing: Stripe,
    subscribe: Callable[..., Any],
    mark: Mark,
    impatient: Call,
    call: Calls,
    mode: str,
) -> None:
    world.break_("POST /v1/subscriptions", mode)
    with pytest.raises(Outage):
        subscribe(by=impatient)

    billing.remove(customer_id=None, mark=mark, call=call())

    assert world.look("/_sandbox/state?tenant=acme")["objects"] == []


@OF_THE_SANDBOX
@pytest.mark.parametrize("tried_again", [True, False])
def test_a_late_effect_is_found_and_not_doubled(
    world: World,
    billing: Stripe,
    ensured: Callable[..., Any],
    mark: Mark,
    impatient: Call,
    call: Calls,
    tried_again: bool,
) -> None:
    world.break_("POST /v1/customers", "late_effect")
    with pytest.raises(Outage) as outage:
        ensured(by=impatient)
    assert outage.value.lost
    assert billing.find(mark=mark, call=call()) == []

    if tried_again:
        ensured()
    until_landed(world)

    assert [one["id"] for one in world.customers()] == [one.id for one in billing.find(mark=mark, call=call())]
    assert len(world.customers()) == 1


def until_landed(world: World) -> None:
    """The stand-in carries the held call out a moment after the look."""
    assert world.standin is not None
    deadline = time.monotonic() + 10
    while world.standin._held or world.standin._landings:
        assert time.monotonic() < deadline, "the held call has not landed"
        Event().wait(0.02)


@OF_THE_SANDBOX
@pytest.mark.parametrize("operation", [*WRITES, *READS])
def test_lost_credentials_are_reported_as_such(world: World, subscribe: Callable[..., Any], operation: str) -> None:
    world.break_(operation, "unauthorized")

    with pytest.raises(InvalidCredentials, match="Stripe answered 401 Unauthorized"):
        subscribe()


def test_wrong_credentials_are_not_shown(world: World, mark: Mark, call: Calls) -> None:
    access = StripeAccess("sk_test_wrong_and_secret", world.url)

    with pytest.raises(InvalidCredentials) as refused:
        Stripe(access).find(mark=mark, call=call())

    assert "Stripe answered 401 Unauthorized" in str(refused.value)
    shown = f"{refused.value} {refused.value!r} {refused.value.way_out} {access!r}"
    assert "wrong_and_secret" not in shown
    assert refused.value.__cause__ is not None


def test_a_closed_port_is_refused(mark: Mark, call: Calls) -> None:
    with pytest.raises(Outage) as refused:
        Stripe(StripeAccess(KEY, "http://127.0.0.1:1")).find(mark=mark, call=call())

    assert "Connection refused (ECONNREFUSED) 127.0.0.1:1" in str(refused.value)
    assert not refused.value.lost


def test_a_wrong_address_is_a_matter_of_configuration(mark: Mark, call: Calls) -> None:
    with pytest.raises(InvalidConfiguration, match="Stripe cannot be reached"):
        Stripe(StripeAccess(KEY, "nonsense")).find(mark=mark, call=call())


@pytest.mark.parametrize(
    ("status", "error", "failure"),
    [
        (400, {"type": "invalid_request_error", "code": "email_invalid", "param": "email"}, Validation),
        (400, {"type": "invalid_request_error", "code": "resource_missing", "param": "customer"}, ResourceNotFound),
        (400, {"type": "idempotency_error"}, LockHeld),
        (400, {"type": "invalid_request_error", "code": "rate_limit"}, Outage),
        (402, {"type": "card_error", "code": "card_declined"}, Validation),
        (403, {"type": "invalid_request_error"}, PermissionDenied),
        (404, {"type": "invalid_request_error"}, ResourceNotFound),
        (409, {"type": "idempotency_error", "code": "idempotency_key_in_use"}, LockHeld),
        (409, {"type": "api_error"}, Answered),
        (418, {"type": "api_error"}, Answered),
        (422, {"type": "api_error"}, Validation),
        (429, {"type": "invalid_request_error", "code": "lock_timeout"}, LockHeld),
        (429, {"type": "invalid_request_error"}, Outage),
        (503, {"type": "api_error"}, Outage),
        (502, None, Outage),
        (200, None, Answered),
    ],
)
@OF_THE_SANDBOX
def test_errors_by_status_and_code(
    stage: Stage, url: str, mark: Mark, call: Calls, status: int, error: dict[str, str] | None, failure: type[Failure]
) -> None:
    async def answer(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse({"object": "list", "data": [], "has_more": False, "url": "/v1/customers"})
        if error is None:
            return Response("<html>the words of a proxy</html>", status)
        return JSONResponse({"error": {**error, "message": "words with a secret"}}, status)

    stage.app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])

    with pytest.raises(Failure) as caught:
        Stripe(StripeAccess(KEY, url)).ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())

    assert type(caught.value) is failure
    assert caught.value.system == "Stripe"
    assert "words" not in str(caught.value)


@OF_THE_SANDBOX
@pytest.mark.parametrize("saved", [500, 402])
def test_the_saved_error_of_a_key_is_not_the_last_word(
    stage: Stage, url: str, mark: Mark, fence: Fence, call: Calls, saved: int
) -> None:
    """Stripe answers an idempotency key for a day with the error that it answered first."""
    standin = StandIn(key=KEY)
    key = "6f2b7c3e:1:step:customer"
    keys: list[str] = []
    inner = standin.app()

    async def remembering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            keys.append(dict(scope["headers"]).get(b"idempotency-key", b"").decode())
            if keys[-1] == key:
                headers = {"Idempotent-Replayed": "true", "Original-Request": "req_1"}
                body = {"error": {"type": "api_error", "message": "x"}}
                await JSONResponse(body, saved, headers)(scope, receive, send)
                return
        await inner(scope, receive, send)

    stage.app = remembering

    made = Stripe(StripeAccess(KEY, url)).ensure_customer(
        name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call()
    )

    assert isinstance(made, Created)
    assert keys[0] == key
    assert len(set(keys)) == 2
    assert fence.asked == 2


def test_a_key_whose_customer_was_deleted_makes_another(world: World, ensured: Callable[..., Any]) -> None:
    first = ensured().ref.id
    world.api.delete(f"/v1/customers/{first}")

    second = ensured().ref.id

    assert second != first
    assert [one["id"] for one in world.customers()] == [second]


@OF_THE_SANDBOX
def test_a_tenant_changed_between_attempts_waits(world: World, billing: Stripe, mark: Mark, call: Calls) -> None:
    """The key's first request had another e-mail: until the search knows its customer, nothing may be made."""
    billing.ensure_customer(name="Acme", email="old@acme.test", linked_id=None, mark=mark, call=call())

    with pytest.raises(LockHeld):
        billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call())

    assert world.customers() == []


@OF_THE_SANDBOX
def test_the_keys_are_those_of_the_attempt(stage: Stage, url: str, mark: Mark, call: Calls) -> None:
    inner = StandIn(key=KEY).app()
    keys: list[str] = []

    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            keys.append(dict(scope["headers"])[b"idempotency-key"].decode())
        assert b"expand" not in [name.encode() for name, _ in parse_qsl(scope["query_string"].decode())]
        await inner(scope, receive, send)

    stage.app = listening
    billing = Stripe(StripeAccess(KEY, url))
    customer = billing.ensure_customer(name="Acme", email=EMAIL, linked_id=None, mark=mark, call=call(key="k"))
    billing.ensure_subscription(customer_id=customer.ref.id, plan_id="basic", mark=mark, call=call(key="k"))

    assert keys == ["k:customer", "k:subscription"]
