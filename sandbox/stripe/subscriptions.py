"""Subscriptions: create, retrieve, update, cancel, list (Stripe API, Subscriptions)."""

from sandbox.store import Document
from sandbox.stripe.account import LIST, Account, Params, page, with_metadata
from sandbox.stripe.customers import PAYMENT_METHODS
from sandbox.stripe.parameters import Choice, Flag, Group, Items, Kind, Metadata, Text, Whole
from sandbox.stripe.refusal import Refusal, missing

DAY = 86_400
INCOMPLETE_FOR = 23 * 3600
"""Seconds after which a subscription whose first payment did not come is given up (Stripe: 23 hours)."""

_PERIOD = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}
_STATUSES = ("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")
_FIELDS: dict[str, Kind] = {
    "cancel_at_period_end": Flag(),
    "collection_method": Choice(("charge_automatically", "send_invoice")),
    "days_until_due": Whole(0, 365),
    "default_payment_method": Text(unset=True),
    "description": Text(500, unset=True),
    "metadata": Metadata(),
    "payment_behavior": Choice(
        ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
    ),
}
_ITEM = Group({"price": Text(), "quantity": Whole(0), "metadata": Metadata()}, required=("price",))

UPDATE = Group(_FIELDS)
CREATE = Group(
    {**_FIELDS, "customer": Text(), "items": Items(_ITEM, most=20), "trial_period_days": Whole(1, 730)},
    required=("customer", "items"),
)
CANCEL = Group({"invoice_now": Flag(), "prorate": Flag()})
FIND = Group(
    {
        **LIST,
        "collection_method": Choice(("charge_automatically", "send_invoice")),
        "customer": Text(),
        "price": Text(),
        "status": Choice((*_STATUSES, "all", "ended")),
    }
)


def create(account: Account, params: Params, _: str) -> Document:
    """A new subscription, billed at once, later by invoice, or after a trial."""
    customer = account.named("customer", params["customer"], "customer", 400)
    prices = [
        account.named("price", item["price"], f"items[{index}][price]", 400)
        for index, item in enumerate(params["items"])
    ]
    _recurring_and_active(prices)
    method = params.get("collection_method", "charge_automatically")
    _days_fit(method, params.get("days_until_due"))
    now = account.now()
    trial_end = now + params["trial_period_days"] * DAY if "trial_period_days" in params else None
    status = "trialing" if trial_end else _first_payment(method, customer, prices, params)
    key = account.new_id("sub_1")
    return account.keep(
        {
            "id": key,
            "object": "subscription",
            "application": None,
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": trial_end or now,
            "billing_cycle_anchor_config": None,
            "billing_mode": {"type": "flexible", "flexible": None},
            "billing_schedules": [],
            "billing_thresholds": None,
            "cancel_at": None,
            "cancel_at_period_end": params.get("cancel_at_period_end", False),
            "canceled_at": None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": method,
            "created": now,
            "currency": prices[0]["currency"],
            "customer": customer["id"],
            "days_until_due": params.get("days_until_due"),
            "default_payment_method": params.get("default_payment_method"),
            "default_source": None,
            "default_tax_rates": [],
            "description": params.get("description"),
            "discounts": [],
            "ended_at": None,
            "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
            "items": {
                "object": "list",
                "url": f"/v1/subscription_items?subscription={key}",
                "has_more": False,
                "data": [
                    _item(account, key, price, item, trial_end)
                    for price, item in zip(prices, params["items"], strict=True)
                ],
            },
            "latest_invoice": account.new_id("in_1"),
            "livemode": False,
            "metadata": with_metadata({}, params.get("metadata")),
            "next_pending_invoice_item_invoice": None,
            "on_behalf_of": None,
            "pause_collection": None,
            "pending_invoice_item_interval": None,
            "pending_setup_intent": None,
            "pending_update": None,
            "schedule": None,
            "start_date": now,
            "status": status,
            "test_clock": None,
            "trial_end": trial_end,
            "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
            "trial_start": now if trial_end else None,
        }
    )


def retrieve(account: Account, _: Params, key: str) -> Document:
    """The subscription as it stands now; a canceled one too."""
    return _today(account, account.named("subscription", key))


def update(account: Account, params: Params, key: str) -> Document:
    """Changes what is given; a canceled one takes metadata only."""
    subscription = retrieve(account, {}, key)
    if subscription["status"] == "canceled" and set(params) - {"metadata"}:
        raise Refusal(400, "A canceled subscription can only update its cancellation_details and metadata.")
    params.pop("payment_behavior", None)
    changed = {**subscription, **params}
    _days_fit(changed["collection_method"], changed["days_until_due"])
    if "metadata" in params:
        changed["metadata"] = with_metadata(subscription, params["metadata"])
    return account.keep(changed)


def cancel(account: Account, _: Params, key: str) -> Document:
    """Ends the subscription at once; it can be looked at afterwards, and not canceled again."""
    subscription = account.named("subscription", key)
    if subscription["status"] == "canceled":
        raise missing("subscription", key, "id")
    now = account.now()
    reason = {"comment": None, "feedback": None, "reason": "cancellation_requested"}
    ended = {"status": "canceled", "canceled_at": now, "ended_at": now, "cancellation_details": reason}
    return account.keep({**subscription, **ended})


def find(account: Account, params: Params, _: str) -> Document:
    """A list, newest first; canceled ones only where `status` asks for them."""
    if "customer" in params and account.store.get("customer", params["customer"]) is None:
        raise missing("customer", params["customer"], "customer", 400)
    wanted = params.get("status")
    found = [_today(account, subscription) for subscription in account.store.all("subscription")]
    match wanted:
        case "all":
            pass
        case "ended":
            found = [one for one in found if one["status"] in ("canceled", "incomplete_expired")]
        case None:
            found = [one for one in found if one["status"] not in ("canceled", "incomplete_expired")]
        case _:
            found = [one for one in found if one["status"] == wanted]
    for name in ("customer", "collection_method"):
        if name in params:
            found = [one for one in found if one[name] == params[name]]
    if "price" in params:
        found = [one for one in found if any(item["price"]["id"] == params["price"] for item in one["items"]["data"])]
    return page("/v1/subscriptions", found, params)


def _today(account: Account, subscription: Document) -> Document:
    """Its status follows from the clock, so that it is right after a restart too."""
    now = account.now()
    if subscription["status"] == "incomplete" and now >= subscription["created"] + INCOMPLETE_FOR:
        return {**subscription, "status": "incomplete_expired", "ended_at": subscription["created"] + INCOMPLETE_FOR}
    if subscription["status"] == "trialing" and now >= subscription["trial_end"]:
        return {**subscription, "status": "active"}
    return subscription


def _item(account: Account, key: str, price: Document, item: Params, trial_end: int | None) -> Document:
    now = account.now()
    period = _PERIOD[price["recurring"]["interval"]] * price["recurring"]["interval_count"]
    return {
        "id": account.new_id("si_", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": trial_end or now + period,
        "current_period_start": now,
        "discounts": [],
        "metadata": item.get("metadata") or {},
        "price": price,
        "quantity": item.get("quantity", 1),
        "subscription": key,
        "tax_rates": [],
    }


def _recurring_and_active(prices: list[Document]) -> None:
    for index, price in enumerate(prices):
        param = f"items[{index}][price]"
        if not price["active"]:
            raise Refusal(400, "The price specified is inactive. This field only accepts active prices.", param=param)
        if price["type"] != "recurring":
            raise Refusal(400, "The price specified is set to `type=one_time`; it must be recurring.", param=param)


def _days_fit(method: str, days: int | None) -> None:
    if method == "send_invoice" and days is None:
        message = "You must specify `days_until_due` when `collection_method` is `send_invoice`."
        raise Refusal(400, message, param="days_until_due")
    if method == "charge_automatically" and days is not None:
        raise Refusal(400, "You can only specify `days_until_due` with `send_invoice`.", param="days_until_due")


def _first_payment(method: str, customer: Document, prices: list[Document], params: Params) -> str:
    """The status in which it begins: what the first payment leads to."""
    if method == "send_invoice" or not any(price["unit_amount"] for price in prices):
        return "active"
    behavior = params.get("payment_behavior", "allow_incomplete")
    if behavior == "default_incomplete":
        return "incomplete"
    card = params.get("default_payment_method") or customer["invoice_settings"]["default_payment_method"]
    if card is None:
        raise Refusal(
            400, "This customer has no attached payment source or default payment method.", "resource_missing"
        )
    if card not in PAYMENT_METHODS:
        raise missing("PaymentMethod", card, "default_payment_method", 400)
    if PAYMENT_METHODS[card] == "charged":
        return "active"
    if behavior == "error_if_incomplete":
        declined = {"decline_code": "generic_decline"}
        raise Refusal(402, "Your card was declined.", "card_declined", type="card_error", more=declined)
    return "incomplete"
