"""From the plan a customer has bought to the tier its tenant gets (the contract, section Tenants)."""

from collections.abc import Mapping

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Tier

TIER_OF_PLAN: Mapping[str, Tier] = {
    "enterprise": Tier.SILO,
    "dedicated": Tier.SILO,
    "hybrid": Tier.BRIDGE,
    "free": Tier.POOLED,
    "basic": Tier.POOLED,
    "starter": Tier.POOLED,
    "standard": Tier.POOLED,
    "professional": Tier.POOLED,
    "premium": Tier.POOLED,
}
"""The default of the setting `plans`."""


def tier_of(plan_id: str, plans: Mapping[str, Tier]) -> Tier:
    """The tier of a plan, named with or without `plan-` before it.

    Raises: Refused INVALID for a plan that is not in the list.
    """
    tier = plans.get(plan_id.removeprefix("plan-"))
    if tier is None:
        known = ", ".join(sorted(plans))
        raise Refused(Code.INVALID, f"Unknown plan {plan_id[:60]!r}. Known plans: {known}.")
    return tier
