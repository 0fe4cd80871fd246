"""Step 12: the customer's subscription to the plan the tenant was created with."""

from collections.abc import Mapping

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.ports import Billing
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=12,
    name="creating_subscription",
    activity="createSubscription",
    percent=94,
    retries=Group.BILLING,
    symptom="Failed to create subscription",
)


@step.do
def create(tenant: Tenant, facts: Mapping[str, str], billing: Billing, mark: Mark, call: Call) -> Done:
    """Nothing to do for a tenant that was given a tier without a plan."""
    if tenant.subscription is None:
        return Done()
    subscription = billing.ensure_subscription(
        customer_id=facts["customer_id"], plan_id=tenant.subscription.plan_id, mark=mark, call=call
    )
    return Done([subscription], facts={"subscription_id": subscription.ref.id})
