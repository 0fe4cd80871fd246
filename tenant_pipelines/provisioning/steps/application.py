"""Step 7: the tenant's application, on Kubernetes or Docker as recorded for the tenant."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.outcomes import ObjectRef, Pending, Removal
from tenant_pipelines.domain.ports import Application, Look, ObjectStore, Platform, SchemaStore
from tenant_pipelines.domain.retries import Group
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step

step = Step(
    number=7,
    name="deploying_application",
    activity="deployApplication",
    undo_activity="rollbackDeployment",
    percent=60,
    retries=Group.DEPLOYMENT,
    symptom="Failed to deploy application",
    undo_symptom="Failed to remove deployment",
)


@step.plan
def names(tenant: Tenant, rules: Rules) -> Mapping[str, str]:
    """Where it runs, and the name of its namespace or container."""
    return {"deployment_target": rules.deployment_target, "deployment": f"tenant-{tenant.key}"}


@step.do
def create(
    tenant: Tenant,
    placement: Mapping[str, str],
    token: Mapping[str, str] | None,
    rules: Rules,
    schemas: SchemaStore,
    store: ObjectStore,
    platforms: Mapping[str, Platform],
    mark: Mark,
    call: Call,
) -> Done | Pending:
    """Credentials are issued here and now, put into the application's secret, and kept nowhere else."""
    secret = {} if token else _credentials(placement, schemas, store, mark, call)
    limits = rules.limits[tenant.tier]
    application = Application(
        name=placement["deployment"],
        image=rules.application_image,
        replicas=limits.replicas,
        cpu=limits.cpu,
        memory=limits.memory,
        host=rules.host(tenant),
        secret=secret | {"TENANT_ID": str(tenant.id), "TENANT_KEY": tenant.key},
    )
    deployed = platforms[placement["deployment_target"]].deploy(
        application=application, mark=mark, token=token, call=call
    )
    if isinstance(deployed, Pending):
        return deployed
    host = rules.host(tenant)
    return Done(
        [deployed],
        {
            "appPlaneUrl": rules.application_url.format(host=host),
            "adminPortalUrl": rules.admin_portal_url.format(host=host),
        },
    )


def _credentials(
    placement: Mapping[str, str], schemas: SchemaStore, store: ObjectStore, mark: Mark, call: Call
) -> dict[str, str]:
    database = schemas.issue_access(schema=placement["schema"], mark=mark, call=call)
    storage = store.issue_access(bucket=placement["bucket"], mark=mark, call=call)
    return {
        "PGHOST": database.host,
        "PGPORT": str(database.port),
        "PGDATABASE": database.database,
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "S3_ENDPOINT": storage.endpoint,
        "S3_REGION": storage.region,
        "S3_BUCKET": storage.bucket,
        "AWS_ACCESS_KEY_ID": storage.access_key,
        "AWS_SECRET_ACCESS_KEY": storage.secret_key,
    }


@step.undo
def remove(
    placement: Mapping[str, str],
    token: Mapping[str, str] | None,
    platforms: Mapping[str, Platform],
    mark: Mark,
    call: Call,
) -> Sequence[Removal] | Pending:
    """Everything in the namespace, or the container with its volumes."""
    removal = platforms[placement["deployment_target"]].remove(
        name=placement["deployment"], mark=mark, token=token, call=call
    )
    return removal if isinstance(removal, Pending) else [removal]


@step.look
def look(placement: Mapping[str, str], token: Mapping[str, str], platforms: Mapping[str, Platform], call: Call) -> Look:
    """Whether the rollout, or the removal, still goes on."""
    platform = platforms[placement["deployment_target"]]
    return platform.look(name=placement["deployment"], token=token, call=call)


@step.find
def find(
    placement: Mapping[str, str], platforms: Mapping[str, Platform], mark: Mark, call: Call
) -> Sequence[ObjectRef]:
    """The namespace or container, if it is there."""
    return platforms[placement["deployment_target"]].find(name=placement["deployment"], mark=mark, call=call)


@step.traces
def traces(placement: Mapping[str, str]) -> Sequence[ObjectRef]:
    """What may be there."""
    kind = {"kubernetes": "namespace", "docker": "container"}[placement["deployment_target"]]
    return [ObjectRef(placement["deployment_target"], kind, placement["deployment"], placement["deployment"])]
