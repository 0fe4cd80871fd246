"""Customers: create, retrieve, update, delete, list, search (Stripe API, Customers)."""

import re

from sandbox.store import Document
from sandbox.stripe import search
from sandbox.stripe.account import LIST, Account, Params, page, with_metadata
from sandbox.stripe.parameters import Choice, Group, Items, Kind, Metadata, Text, Whole
from sandbox.stripe.refusal import Refusal, missing

PAYMENT_METHODS = {"pm_card_visa": "charged", "pm_card_chargeCustomerFail": "declined"}
"""Stripe's test payment methods that are known here, and what becomes of a charge."""

_ADDRESS = {name: Text(unset=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")}
_FIELDS: dict[str, Kind] = {
    "address": Group(_ADDRESS, unset=True),
    "balance": Whole(),
    "description": Text(unset=True),
    "email": Text(512, unset=True),
    "invoice_settings": Group({"default_payment_method": Text(unset=True), "footer": Text(unset=True)}),
    "metadata": Metadata(),
    "name": Text(256, unset=True),
    "phone": Text(20, unset=True),
    "preferred_locales": Items(Text()),
    "tax_exempt": Choice(("exempt", "none", "reverse")),
}

UPDATE = Group(_FIELDS)
CREATE = Group({**_FIELDS, "payment_method": Text()})
FIND = Group({**LIST, "email": Text(512)})
SEARCH = Group({"query": Text(), "limit": Whole(1, 100), "page": Text()}, required=("query",))


def create(account: Account, params: Params, _: str) -> Document:
    """A new customer, with what Stripe fills in by itself."""
    key = account.new_id("cus_", 14)
    customer: Document = {
        "id": key,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": None,
        "invoice_prefix": key[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    _known_method(params.pop("payment_method", None), "payment_method")
    return _change(account, customer, params)


def update(account: Account, params: Params, key: str) -> Document:
    """Changes what is given and leaves the rest."""
    return _change(account, account.named("customer", key), params)


def retrieve(account: Account, _: Params, key: str) -> Document:
    """The customer; of a deleted one no more than that it is deleted."""
    customer = account.store.get("customer", key)
    if customer is None:
        raise missing("customer", key, "id")
    return customer


def delete(account: Account, _: Params, key: str) -> Document:
    """Deletes the customer for good and ends its subscriptions; a deleted one cannot be deleted again."""
    account.named("customer", key)
    for subscription in account.store.all("subscription"):
        if subscription["customer"] == key and subscription["status"] != "canceled":
            now = account.now()
            account.keep({**subscription, "status": "canceled", "canceled_at": now, "ended_at": now})
    gone = account.keep({"id": key, "object": "customer", "deleted": True})
    search.index(account, gone)
    return gone


def find(account: Account, params: Params, _: str) -> Document:
    """A list, newest first; the filter by e-mail minds upper and lower case."""
    customers = [customer for customer in account.store.all("customer") if not customer.get("deleted")]
    if "email" in params:
        customers = [customer for customer in customers if customer["email"] == params["email"]]
    return page("/v1/customers", customers, params)


def find_by_query(account: Account, params: Params, _: str) -> Document:
    """A search, which does not know the latest changes yet."""
    found = search.search(account, params["query"])[::-1]
    start = _page_start(params.get("page"))
    limit = params.get("limit", 10)
    more = len(found) > start + limit
    return {
        "object": "search_result",
        "url": "/v1/customers/search",
        "has_more": more,
        "data": found[start : start + limit],
        "next_page": f"page{start + limit}" if more else None,
    }


def _page_start(token: str | None) -> int:
    if token is None:
        return 0
    if not re.fullmatch(r"page\d{1,9}", token):
        raise Refusal(400, "Invalid page token", param="page")
    return int(token.removeprefix("page"))


def _change(account: Account, customer: Document, params: Params) -> Document:
    email = params.get("email")
    if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)*", email):
        raise Refusal(400, f"Invalid email address: {email[:80]}", "email_invalid", "email")
    settings = params.pop("invoice_settings", {})
    _known_method(settings.get("default_payment_method"), "invoice_settings[default_payment_method]")
    changed = {**customer, **params, "invoice_settings": {**customer["invoice_settings"], **settings}}
    if "metadata" in params:
        changed["metadata"] = with_metadata(customer, params["metadata"])
    if params.get("address") is not None:
        changed["address"] = {**dict.fromkeys(_ADDRESS), **(customer["address"] or {}), **params["address"]}
    kept = account.keep(changed)
    search.index(account, kept)
    return kept


def _known_method(method: str | None, param: str) -> None:
    if method is not None and method not in PAYMENT_METHODS:
        raise missing("PaymentMethod", method, param, 400)
