"""The whole of provisioning on one page."""

from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.domain.workflow import PROVISION
from tenant_pipelines.provisioning.steps import (
    activation,
    admin_user,
    app_plane,
    application,
    billing_customer,
    dns,
    infrastructure,
    organization,
    resources,
    schema,
    status,
    storage,
    subscription,
    welcome_mail,
)
from tenant_pipelines.saga.catalogue import Catalogue

PROVISIONING = Catalogue(
    workflow_type=PROVISION,
    version=1,
    steps=[
        status.step,
        organization.step,
        admin_user.step,
        schema.step,
        storage.step,
        infrastructure.step.only(Tier.SILO),
        application.step,
        dns.step.only(Tier.SILO),
        resources.step,
        activation.step.pivot(),
        billing_customer.step,
        subscription.step,
        welcome_mail.step.owed_if_failed(),
        app_plane.step,
    ],
)
