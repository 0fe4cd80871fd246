"""The requests to Stripe, one method each: client, time-outs, pages, idempotency keys."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import stripe

from tenant_pipelines.adapters.stripe.errors import SYSTEM, asking, is_gone, replayed
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Failure, InvalidConfiguration

ENDED = frozenset({"canceled", "incomplete_expired"})
"""The statuses in which a subscription is over for good."""

_PAGE = 100
"""Objects of one list request, the most that Stripe allows."""

_Object = TypeVar("_Object", stripe.Customer, stripe.Subscription)


@dataclass(frozen=True, slots=True)
class StripeAccess:
    """Where Stripe is, and how to bill there.

    Args:
        key: secret or restricted key (`sk_…`, `rk_…`); it must read prices and write customers and subscriptions.
        url: the API's address, without `/v1`.
        days_until_due: days a customer has for paying an invoice. A new tenant has given no card yet, so Stripe is
            asked to send invoices: it refuses a subscription that is to be charged to nothing.
        dashboard: where people look at customers (`https://dashboard.stripe.com`), or None for no links.
    """

    key: str = field(repr=False)
    url: str = "https://api.stripe.com"
    days_until_due: int = 30
    dashboard: str | None = None


class Wire:
    """What is sent to Stripe: a client for each request, for the sake of its time-out, on one pool of connections."""

    def __init__(self, access: StripeAccess) -> None:
        self._access = access
        self._url = access.url.rstrip("/")
        self._session = requests.Session()

    def customer(self, key: str, call: Call) -> stripe.Customer | None:
        """The customer, or None when there is none: a deleted one is still answered, as deleted."""
        with asking(self._url, f"customer {key}"):
            try:
                found = self._client(call.seconds_left()).v1.customers.retrieve(key)
            except stripe.InvalidRequestError as error:
                if is_gone(error):
                    return None
                raise
        return None if getattr(found, "deleted", False) else found

    def search(self, mark: Mark, call: Call) -> list[str]:
        """The ids of the customers that the search knows to be the tenant's; it knows no change of the last minute."""
        query = f"metadata['tenantId']:'{mark.tenant_id}'"
        with asking(self._url, f"the customers of tenant {mark.tenant_key}"):
            found = self._client(call.seconds_left()).v1.customers.search({"query": query, "limit": _PAGE})
        return [one.id for one in found.data]

    def customers(self, wanted: Mapping[str, Any], call: Call) -> Iterator[stripe.Customer]:
        """Those that the filter of the list lets through, deleted ones never."""
        params: Any = {**wanted, "limit": _PAGE}
        while True:
            with asking(self._url, "the customers"):
                page = self._client(call.seconds_left()).v1.customers.list(params)
            yield from page.data
            if not page.has_more:
                return
            params["starting_after"] = page.data[-1].id

    def living(self, customer_id: str, call: Call) -> Iterator[stripe.Subscription]:
        """The customer's subscriptions that have not ended, paid or not."""
        params: Any = {"customer": customer_id, "status": "all", "limit": _PAGE}
        while True:
            with asking(self._url, f"the subscriptions of customer {customer_id}"):
                page = self._client(call.seconds_left()).v1.subscriptions.list(params)
            yield from (one for one in page.data if one.status not in ENDED)
            if not page.has_more:
                return
            params["starting_after"] = page.data[-1].id

    def price(self, plan_id: str, call: Call) -> stripe.Price:
        """The active price whose lookup key is the plan.

        Raises: InvalidConfiguration when there is none.
        """
        with asking(self._url, f"the price of plan {plan_id}"):
            found = self._client(call.seconds_left()).v1.prices.list({"lookup_keys": [plan_id], "active": True})
        if not found.data:
            way_out = f"Give a recurring price the lookup key {plan_id} in Stripe"
            raise InvalidConfiguration(SYSTEM, f"has no active price with the lookup key {plan_id}", way_out=way_out)
        return found.data[0]

    def create_customer(self, name: str, email: str, mark: Mark, call: Call) -> stripe.Customer:
        """A new customer; or the one that an earlier request under the call's key made, if it still lives."""
        params: Any = {"name": name, "email": email, "metadata": mark.labels()}

        def create(options: stripe.RequestOptions) -> stripe.Customer:
            with asking(self._url, f"a customer for tenant {mark.tenant_key}", write=True):
                return self._client(call.before_write()).v1.customers.create(params, options)

        return _once(create, lambda made: self.customer(made.id, call), f"{call.key}:customer")

    def create_subscription(self, customer_id: str, price: stripe.Price, mark: Mark, call: Call) -> stripe.Subscription:
        """A new subscription, billed by invoice; or the one that an earlier request made, if it still lives."""
        params: Any = {
            "customer": customer_id,
            "items": [{"price": price.id}],
            "collection_method": "send_invoice",
            "days_until_due": self._access.days_until_due,
            "metadata": mark.labels(),
        }

        def create(options: stripe.RequestOptions) -> stripe.Subscription:
            with asking(self._url, f"a subscription for customer {customer_id}", write=True):
                return self._client(call.before_write()).v1.subscriptions.create(params, options)

        def alive(made: stripe.Subscription) -> stripe.Subscription | None:
            return next((one for one in self.living(customer_id, call) if one.id == made.id), None)

        return _once(create, alive, f"{call.key}:subscription")

    def mark_customer(self, key: str, mark: Mark, call: Call) -> None:
        """Write the mark beside whatever other metadata there is."""
        with asking(self._url, f"customer {key}", write=True):
            self._client(call.before_write()).v1.customers.update(key, {"metadata": mark.labels()})

    def mark_subscription(self, key: str, mark: Mark, call: Call) -> None:
        """Write the mark beside whatever other metadata there is."""
        with asking(self._url, f"subscription {key}", write=True):
            self._client(call.before_write()).v1.subscriptions.update(key, {"metadata": mark.labels()})

    def delete_customer(self, key: str, call: Call) -> bool:
        """Delete the customer; False when it was gone already."""
        return self._gone_after(f"customer {key}", lambda: self._client(call.before_write()).v1.customers.delete(key))

    def cancel_subscription(self, key: str, call: Call) -> bool:
        """End the subscription at once; False when it had ended already."""
        what = f"subscription {key}"
        return self._gone_after(what, lambda: self._client(call.before_write()).v1.subscriptions.cancel(key))

    def _gone_after(self, what: str, remove: Callable[[], object]) -> bool:
        with asking(self._url, what, write=True):
            try:
                remove()
            except stripe.InvalidRequestError as error:
                if is_gone(error):
                    return False
                raise
        return True

    def _client(self, seconds: float) -> stripe.StripeClient:
        http = stripe.RequestsClient(timeout=seconds, session=self._session)
        return stripe.StripeClient(
            self._access.key, base_addresses={"api": self._url}, max_network_retries=0, http_client=http
        )


def _once(
    create: Callable[[stripe.RequestOptions], _Object], alive: Callable[[_Object], _Object | None], key: str
) -> _Object:
    """Create under the key, unless its saved answer is of no use now; then create under a key of its own.

    Stripe answers a key for a day with what it answered first: an error (a 500 too) stays that error, and an object
    stays as it was then, though it may have been deleted since. The caller has just looked and found nothing of ours.
    """
    try:
        made = create({"idempotency_key": key})
    except Failure as failure:
        if not replayed(failure.__cause__):
            raise
        return create({})
    if made.last_response is None or made.last_response.headers.get("Idempotent-Replayed") != "true":
        return made
    return alive(made) or create({})
