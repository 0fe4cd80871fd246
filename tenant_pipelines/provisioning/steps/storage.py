"""Step 5: the tenant's bucket and the key that opens only it."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Removal
from tenant_pipelines.domain.ports import ObjectStore
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=5,
    name="provisioning_storage",
    activity="provisionTenantStorage",
    undo_activity="deprovisionTenantStorage",
    percent=35,
    retries=Group.STORAGE,
    symptom="Failed to provision tenant storage",
    undo_symptom="Failed to remove tenant storage",
)


@step.plan
def names(tenant: Tenant, rules: Rules) -> Mapping[str, str]:
    """The bucket's name."""
    return {"bucket": f"{rules.bucket_prefix}{tenant.key}"}


@step.do
def create(
    tenant: Tenant, placement: Mapping[str, str], rules: Rules, store: ObjectStore, mark: Mark, call: Call
) -> Done:
    """The bucket, and the identity that is confined to it."""
    quota = rules.limits[tenant.tier].storage_bytes
    bucket = store.ensure_bucket(bucket=placement["bucket"], quota_bytes=quota, mark=mark, call=call)
    access = store.ensure_access(bucket=placement["bucket"], mark=mark, call=call)
    return Done([bucket, access], {"storageBucket": placement["bucket"]})


@step.undo
def remove(placement: Mapping[str, str], store: ObjectStore, mark: Mark, call: Call) -> Sequence[Removal]:
    """The identity first, so that nothing new can arrive."""
    access = store.remove_access(bucket=placement["bucket"], mark=mark, call=call)
    return [access, store.remove_bucket(bucket=placement["bucket"], mark=mark, call=call)]


@step.find
def find(placement: Mapping[str, str], store: ObjectStore, mark: Mark, call: Call) -> Sequence[ObjectRef]:
    """The bucket and the identity, where they are there."""
    return store.find(bucket=placement["bucket"], mark=mark, call=call)


@step.traces
def traces(placement: Mapping[str, str]) -> Sequence[ObjectRef]:
    """What may be there."""
    return [ObjectRef("s3", kind, placement["bucket"], placement["bucket"]) for kind in ("bucket", "user")]
