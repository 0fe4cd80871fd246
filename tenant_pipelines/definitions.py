"""The only place where jobs, sensors and resources are put together."""

from collections.abc import Iterator

import dagster

from resources import systems
from resources.current_settings import CurrentSettings
from resources.lasting import Lasting
from resources.saga import Saga
from resources.world import world_of
from sensors.guard import workflow_guard
from sensors.retention import retention_daily, retention_job
from sensors.run_ends import run_cancelled, run_failed
from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.provisioning.jobs import provision_job, rollback_job
from tenant_pipelines.runs.gateway import DagsterRuns
from tenant_pipelines.saga.work import World

SYSTEMS = systems.outside_systems()

load_clients = systems.load_clients
"""The pool's template calls it, so that workers share what is loaded."""

SETTINGS, LASTING = CurrentSettings(), Lasting()
"""What stays from run to run; empty until the first one."""


def world(given: settings.Settings, database: Database) -> World:
    """The outside systems, for whoever looks at them outside of a run."""
    return world_of(given, database, SYSTEMS)


def job(name: str) -> dagster.JobDefinition:
    """The job with that name, bound to its resources."""
    return defs.resolve_job_def(name)


@dagster.resource(required_resource_keys=set(SYSTEMS), description="The engine that every op acts through.")
def saga(context: dagster.InitResourceContext) -> Saga:
    """One for each run; what takes time to open stays open for the next one."""
    given = SETTINGS.read()
    opened = LASTING.opened(given, {name: getattr(context.resources, name) for name in SYSTEMS})
    desk = open_desk(given, opened.database, DagsterRuns(_instance(context), job))
    return Saga(given, opened.database, opened.world, desk)


@dagster.resource(description="The operator's desk that the sensors work at.")
def desk(context: dagster.InitResourceContext) -> Iterator[Desk]:
    """One for each tick."""
    given = settings.load()
    database = Database(given.database_url.get_secret_value(), patience=10)
    try:
        yield open_desk(given, database, DagsterRuns(_instance(context), job))
    finally:
        database.close()


def _instance(context: dagster.InitResourceContext) -> dagster.DagsterInstance:
    if context.instance is None:
        raise dagster.DagsterInvariantViolationError("a Dagster instance is needed")
    return context.instance


defs = dagster.Definitions(
    jobs=[provision_job(), rollback_job(), retention_job()],
    sensors=[workflow_guard, run_failed, run_cancelled],
    schedules=[retention_daily],
    resources={**SYSTEMS, "saga": saga, "desk": desk},
)
