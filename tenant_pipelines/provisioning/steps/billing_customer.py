"""Step 11: the tenant as a customer at Stripe: the operator's link, else the one with our mark, else a new one."""

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Validation
from tenant_pipelines.domain.ports import Billing
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=11,
    name="creating_billing_customer",
    activity="createBillingCustomer",
    percent=92,
    retries=Group.BILLING,
    symptom="Failed to create billing customer",
)


@step.do
def create(tenant: Tenant, billing: Billing, mark: Mark, call: Call) -> Done:
    """The customer's e-mail is the primary contact's."""
    if tenant.admin is None:
        raise Validation("Tenant", f"{tenant.key} has no contact who could be billed")
    customer = billing.ensure_customer(
        name=tenant.name,
        email=tenant.admin.email,
        linked_id=_linked(tenant),
        mark=mark,
        call=call,
    )
    return Done([customer], {"stripeCustomerId": customer.ref.id}, {"customer_id": customer.ref.id})


def _linked(tenant: Tenant) -> str | None:
    """The customer that was linked, by us or by an operator's UPDATE, which may have written anything."""
    linked = tenant.metadata.get("stripeCustomerId")
    if linked is not None and not isinstance(linked, str):
        raise Validation("Tenant", f"{tenant.key} has a metadata.stripeCustomerId that is not a text")
    return linked
