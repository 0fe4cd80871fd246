"""Step 13: the welcome mail. It never fails the workflow: what cannot be sent now is owed."""

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.ports import Mailer
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=13,
    name="sending_notifications",
    activity="sendWelcomeEmail",
    percent=96,
    retries=Group.NOTIFICATION,
    symptom="Failed to send notification",
)


@step.do
def send(tenant: Tenant, mailer: Mailer, rules: Rules, mark: Mark, call: Call) -> Done:
    """To the primary contact; a tenant without contacts gets none."""
    if tenant.admin is None:
        return Done()
    payload = {
        "tenantId": str(tenant.id),
        "tenantName": tenant.name,
        "firstName": tenant.admin.first_name,
        "lastName": tenant.admin.last_name,
        "appPlaneUrl": tenant.metadata.get("appPlaneUrl", ""),
        "adminPortalUrl": tenant.metadata.get("adminPortalUrl", ""),
    }
    sent = mailer.send(template=rules.welcome_template, recipient=tenant.admin, payload=payload, mark=mark, call=call)
    return Done([sent])
