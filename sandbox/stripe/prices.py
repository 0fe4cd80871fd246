"""Products and prices, and those that the sandbox begins with (Stripe API, Products, Prices)."""

from sandbox.store import Document
from sandbox.stripe.account import LIST, Account, Params, page
from sandbox.stripe.parameters import Choice, Flag, Group, Items, Metadata, Text, Whole
from sandbox.stripe.refusal import Refusal

PLANS = {
    "free": 0,
    "basic": 900,
    "starter": 1900,
    "standard": 4900,
    "professional": 9900,
    "premium": 19900,
    "enterprise": 99900,
    "dedicated": 149900,
    "hybrid": 59900,
}
"""The plans that have a price from the start, in cents a month; each is found by `NAME` and by `plan-NAME`."""

_RECURRING = Group(
    {
        "interval": Choice(("day", "month", "week", "year")),
        "interval_count": Whole(1, 36),
        "usage_type": Choice(("licensed", "metered")),
    },
    required=("interval",),
)
CREATE_PRODUCT = Group(
    {"id": Text(), "name": Text(), "description": Text(unset=True), "active": Flag(), "metadata": Metadata()},
    required=("name",),
)
CREATE = Group(
    {
        "active": Flag(),
        "currency": Text(3),
        "lookup_key": Text(200),
        "metadata": Metadata(),
        "nickname": Text(),
        "product": Text(),
        "product_data": Group({"name": Text(), "metadata": Metadata()}, required=("name",)),
        "recurring": _RECURRING,
        "transfer_lookup_key": Flag(),
        "unit_amount": Whole(0),
    },
    required=("currency",),
)
FIND = Group(
    {
        **LIST,
        "active": Flag(),
        "currency": Text(3),
        "lookup_keys": Items(Text(), most=10),
        "product": Text(),
        "type": Choice(("one_time", "recurring")),
    }
)
NOTHING = Group()


def seed(account: Account) -> None:
    """The plans' products and prices, once for each store."""
    if account.store.all("price"):
        return
    for plan, amount in PLANS.items():
        product = create_product(account, {"id": f"prod_{plan}", "name": plan.title()}, "")
        for lookup_key in (plan, f"plan-{plan}"):
            monthly = {"recurring": {"interval": "month"}, "unit_amount": amount, "currency": "usd"}
            create(account, {**monthly, "product": product["id"], "lookup_key": lookup_key}, "")


def create_product(account: Account, params: Params, _: str) -> Document:
    """A new product."""
    key = params.get("id") or account.new_id("prod_", 14)
    if account.store.get("product", key):
        raise Refusal(400, f"Product already exists: {key}", "resource_already_exists", "id")
    return account.keep(
        {
            "id": key,
            "object": "product",
            "active": params.get("active", True),
            "created": account.now(),
            "default_price": None,
            "description": params.get("description"),
            "images": [],
            "livemode": False,
            "marketing_features": [],
            "metadata": params.get("metadata") or {},
            "name": params["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": account.now(),
            "url": None,
        }
    )


def retrieve_product(account: Account, _: Params, key: str) -> Document:
    """The product."""
    return account.named("product", key)


def create(account: Account, params: Params, _: str) -> Document:
    """A new price of a product; a lookup key belongs to one price at a time."""
    if ("product" in params) == ("product_data" in params):
        raise Refusal(400, "You must specify either `product` or `product_data` when creating a price.")
    if "unit_amount" not in params:
        raise Refusal(400, "Missing required param: unit_amount.", "parameter_missing", "unit_amount")
    if "product" in params:
        product = account.named("product", params["product"], "product", 400)
    else:
        product = create_product(account, params["product_data"], "")
    _free_the_lookup_key(account, params)
    recurring = params.get("recurring")
    return account.keep(
        {
            "id": account.new_id("price_1"),
            "object": "price",
            "active": params.get("active", True),
            "billing_scheme": "per_unit",
            "created": account.now(),
            "currency": params["currency"].lower(),
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": params.get("lookup_key"),
            "metadata": params.get("metadata") or {},
            "nickname": params.get("nickname"),
            "product": product["id"],
            "recurring": {"interval_count": 1, "usage_type": "licensed", "meter": None, **recurring}
            if recurring
            else None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": params["unit_amount"],
            "unit_amount_decimal": str(params["unit_amount"]),
        }
    )


def retrieve(account: Account, _: Params, key: str) -> Document:
    """The price."""
    return account.named("price", key)


def find(account: Account, params: Params, _: str) -> Document:
    """A list, newest first."""
    prices = account.store.all("price")
    for name in ("active", "currency", "product", "type"):
        if name in params:
            prices = [price for price in prices if price[name] == params[name]]
    if "lookup_keys" in params:
        prices = [price for price in prices if price["lookup_key"] in params["lookup_keys"]]
    return page("/v1/prices", prices, params)


def _free_the_lookup_key(account: Account, params: Params) -> None:
    wanted = params.get("lookup_key")
    for price in account.store.all("price"):
        if wanted is not None and price["lookup_key"] == wanted:
            if not params.get("transfer_lookup_key"):
                raise Refusal(400, f"A price already uses the lookup key '{wanted}'.", param="lookup_key")
            account.keep({**price, "lookup_key": None})
