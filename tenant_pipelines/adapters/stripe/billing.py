"""The tenant's customer and subscription: which one is taken, which is made, which is left alone.

Our mark is the metadata; `tenantId` alone is enough, for an operator who makes a customer by hand writes no more.
Stripe's search finds metadata but lags behind, so a list, which never lags, is asked too: by e-mail where one is
known, else for the customers of the last hour.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import stripe

from tenant_pipelines.adapters.stripe.errors import SYSTEM
from tenant_pipelines.adapters.stripe.wire import StripeAccess, Wire
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import ResourceAlreadyExists, ResourceNotFound
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Removal,
    Removed,
)

SEARCH_LAG = 3600.0
"""Seconds for which the search may not know a change: a minute as a rule, up to an hour in an outage of Stripe's."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}")

_Object = TypeVar("_Object", stripe.Customer, stripe.Subscription)


class Stripe:
    """Fulfils `domain.ports.Billing`, and takes back what it made. One object may serve several threads.

    Args:
        clock: Unix seconds, for "the customers of the last hour".
    """

    def __init__(self, access: StripeAccess, clock: Callable[[], float] = time.time) -> None:
        self._wire = Wire(access)
        self._dashboard = access.dashboard
        self._clock = clock

    def ensure_customer(self, *, name: str, email: str, linked_id: str | None, mark: Mark, call: Call) -> Ensured:
        """The tenant's customer: the linked one, else the one with our mark, else a new one.

        Name and e-mail of a customer that is there stay as they are: they are a matter of billing by then.

        Raises: ResourceNotFound when the linked one does not exist or was deleted. ResourceAlreadyExists when it is
            another tenant's, or when a customer without tenantId has the e-mail.
        """
        if linked_id:
            return self._adopt_customer(self._linked(linked_id, mark, call), mark, call)
        by_email = list(self._wire.customers({"email": email}, call))
        found = [*self._searched(mark, call), *(one for one in by_email if _belongs(one, mark))]
        if found:
            return self._adopt_customer(_oldest(found), mark, call)
        stranger = next((one for one in by_email if _owner(one) is None), None)
        if stranger is not None:
            what = f"customer {stranger.id} has the e-mail of tenant {mark.tenant_key} and no metadata[tenantId]"
            raise ResourceAlreadyExists(SYSTEM, what, way_out=_link(mark, stranger.id))
        made = self._wire.create_customer(name, email, mark, call)
        return Created(self._customer(made), {"stripeCustomerId": made.id})

    def ensure_subscription(self, *, customer_id: str, plan_id: str, mark: Mark, call: Call) -> Ensured:
        """The tenant's one subscription: a living one with our mark, else a new one at the price of the plan.

        The price of one that is there stays: another plan is another decision than provisioning.

        Raises: InvalidConfiguration when no active price has the plan as its lookup key. ResourceAlreadyExists when
            the customer pays that price already, by a subscription without our mark.
        """
        living = list(self._wire.living(customer_id, call))
        ours = [one for one in living if _belongs(one, mark)]
        if ours:
            return self._adopt_subscription(_oldest(ours), mark, call)
        price = self._wire.price(plan_id, call)
        for one in living:
            if _owner(one) is None and price.id in _prices(one):
                what = (
                    f"customer {customer_id} pays for plan {plan_id} already, by subscription {one.id} without our mark"
                )
                way_out = f"Give it metadata[tenantId]={mark.tenant_id} in Stripe, or cancel it"
                raise ResourceAlreadyExists(SYSTEM, what, way_out=way_out)
        made = self._wire.create_subscription(customer_id, price, mark, call)
        return Created(self._subscription(made), {"plan": plan_id, "status": made.status})

    def remove(self, *, customer_id: str | None, mark: Mark, call: Call) -> Sequence[Removal]:
        """Cancel every subscription with our mark and delete the customer; Stripe keeps the invoices.

        A customer that has living subscriptions without our mark is somebody's still: it is left alone.

        Args:
            customer_id: the recorded one, which is named in the answer whatever became of it; None where none is known.
        """
        removals: list[Removal] = []
        ours = self._marked(mark, call)
        if customer_id and customer_id not in {one.id for one in ours}:
            known = self._wire.customer(customer_id, call)
            if known is not None and _belongs(known, mark):
                ours.append(known)
            else:
                ref = self._ref("customer", customer_id, customer_id)
                removals.append(NothingToRemove(ref) if known is None else NotOurs(ref))
        for one in ours:
            removals += self._remove_customer(one, mark, call)
        return removals

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The customers with our mark that are not deleted, and their marked subscriptions that have not ended."""
        found: list[ObjectRef] = []
        for customer in self._marked(mark, call):
            living = self._wire.living(customer.id, call)
            found.append(self._customer(customer))
            found += [self._subscription(one) for one in living if _belongs(one, mark)]
        return found

    def _linked(self, linked_id: str, mark: Mark, call: Call) -> stripe.Customer:
        valid = _ID.fullmatch(linked_id) is not None
        named = f"customer {linked_id if valid else '(not an id)'}, to which tenant {mark.tenant_key} is linked,"
        customer = self._wire.customer(linked_id, call) if valid else None
        if customer is None:
            raise ResourceNotFound(SYSTEM, f"{named} does not exist or was deleted", way_out=_link(mark))
        if _owner(customer) not in (None, mark.tenant_id):
            raise ResourceAlreadyExists(SYSTEM, f"{named} belongs to another tenant", way_out=_link(mark))
        return customer

    def _searched(self, mark: Mark, call: Call) -> list[stripe.Customer]:
        """What the search knows, looked at again one by one: it answers for the time of its index."""
        looked_at = (self._wire.customer(key, call) for key in self._wire.search(mark, call))
        return [one for one in looked_at if one is not None and _belongs(one, mark)]

    def _marked(self, mark: Mark, call: Call) -> list[stripe.Customer]:
        recent = self._wire.customers({"created": {"gte": int(self._clock() - SEARCH_LAG)}}, call)
        found = (*self._searched(mark, call), *(one for one in recent if _belongs(one, mark)))
        return list({one.id: one for one in found}.values())

    def _adopt_customer(self, customer: stripe.Customer, mark: Mark, call: Call) -> Adopted:
        if not _complete(customer, mark):
            self._wire.mark_customer(customer.id, mark, call)
        return Adopted(self._customer(customer), {"stripeCustomerId": customer.id})

    def _adopt_subscription(self, subscription: stripe.Subscription, mark: Mark, call: Call) -> Adopted:
        if not _complete(subscription, mark):
            self._wire.mark_subscription(subscription.id, mark, call)
        return Adopted(self._subscription(subscription), {"status": subscription.status})

    def _remove_customer(self, customer: stripe.Customer, mark: Mark, call: Call) -> list[Removal]:
        living = list(self._wire.living(customer.id, call))
        removals: list[Removal] = []
        for one in living:
            if _belongs(one, mark):
                ended = self._wire.cancel_subscription(one.id, call)
                removals.append(_removed(self._subscription(one), ended=ended))
        if not all(_belongs(one, mark) for one in living):
            return [*removals, NotOurs(self._customer(customer))]
        deleted = self._wire.delete_customer(customer.id, call)
        return [*removals, _removed(self._customer(customer), ended=deleted)]

    def _customer(self, customer: stripe.Customer) -> ObjectRef:
        return self._ref("customer", customer.id, customer.name or customer.id)

    def _subscription(self, subscription: stripe.Subscription) -> ObjectRef:
        return self._ref("subscription", subscription.id, subscription.id)

    def _ref(self, kind: str, key: str, name: str) -> ObjectRef:
        url = f"{self._dashboard.rstrip('/')}/{kind}s/{key}" if self._dashboard else None
        return ObjectRef("stripe", kind, name, key, url)


def _metadata(one: stripe.Customer | stripe.Subscription) -> dict[str, str]:
    return dict(one.metadata.to_dict()) if one.metadata else {}


def _owner(one: stripe.Customer | stripe.Subscription) -> str | None:
    return _metadata(one).get("tenantId")


def _belongs(one: stripe.Customer | stripe.Subscription, mark: Mark) -> bool:
    return _owner(one) == mark.tenant_id


def _complete(one: stripe.Customer | stripe.Subscription, mark: Mark) -> bool:
    return mark.labels().items() <= _metadata(one).items()


def _oldest(found: Iterable[_Object]) -> _Object:
    return min(found, key=lambda one: (one.created, one.id))


def _prices(subscription: stripe.Subscription) -> set[str]:
    return {item.price.id for item in subscription["items"].data}


def _removed(ref: ObjectRef, *, ended: bool) -> Removal:
    return Removed(ref) if ended else NothingToRemove(ref)


def _link(mark: Mark, customer_id: str = "cus_xxx") -> str:
    """The runbook's way to link a customer to a tenant by hand."""
    return (
        "UPDATE tenant_management.tenants "  # noqa: S608 - for people to read, run nowhere
        f"""SET metadata = metadata || '{{"stripeCustomerId": "{customer_id}"}}'::jsonb """
        f"WHERE id = '{mark.tenant_id}';"
    )
