"""Step 8: the silo tenant's names, pointing at its own load balancer."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import NameService
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=8,
    name="configuring_dns",
    activity="configureDns",
    undo_activity="removeDns",
    percent=70,
    retries=Group.DNS,
    symptom="Failed to configure DNS",
    undo_symptom="Failed to remove DNS records",
)


@step.do
def create(tenant: Tenant, facts: Mapping[str, str], dns: NameService, mark: Mark, call: Call) -> Done:
    """A CNAME for each domain in our zone, with the ownership mark beside it."""
    target = facts["terraform.load_balancer_dns"]
    return Done(dns.ensure_records(domains=tenant.domains, target=target, mark=mark, call=call))


@step.undo
def remove(tenant: Tenant, dns: NameService, mark: Mark, call: Call) -> Sequence[Removal]:
    """The records that carry the mark."""
    return dns.remove_records(domains=tenant.domains, mark=mark, call=call)


@step.find
def find(tenant: Tenant, dns: NameService, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The records that are there."""
    return dns.find(domains=tenant.domains, mark=mark, call=call)


@step.traces
def traces(tenant: Tenant) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("dns", "record", domain, domain) for domain in tenant.domains]
