"""Step 14: the app plane is told, and answers with the signal `appPlaneProvisioned`; no worker waits for it."""

from collections.abc import Mapping
from dataclasses import replace

from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.ports import AppPlane, TenantProvisioned
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.saga.outcomes import AwaitingSignal, Done
from tenant_pipelines.saga.step import Step

SIGNAL = "appPlaneProvisioned"

step = Step(
    number=14,
    name="provisioning_app_plane",
    activity="notifyAppPlane",
    percent=98,
    retries=Group.WEBHOOK,
    symptom="Failed to provision the app plane",
)


@step.do
def notify(
    tenant: Tenant,
    execution: Execution,
    facts: Mapping[str, str],
    rules: Rules,
    app_plane: AppPlane,
    call: Call,
) -> AwaitingSignal:
    """The webhook; its confirmation comes through operations.signal."""
    admin = tenant.admin
    event = TenantProvisioned(
        tenant_id=str(tenant.id),
        tenant_key=tenant.key,
        tenant_name=tenant.name,
        plan_id=tenant.subscription.plan_id if tenant.subscription else None,
        tier=tenant.tier.value,
        workflow_id=execution.workflow_id,
        admin_email=admin.email if admin else None,
        admin_first_name=admin.first_name if admin else None,
        admin_last_name=admin.last_name if admin else None,
        organization_id=facts.get("organization_id"),
    )
    # A message of each execution's own: the app plane takes a message that it has answered with a failure for known.
    message = replace(call, key=f"{tenant.id}:{execution.generation}:{step.name}")
    told = app_plane.notify(event=event, call=message)
    return AwaitingSignal(Done([told]), SIGNAL, rules.app_plane_wait)
