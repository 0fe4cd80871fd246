"""The code location of the crash tests: the product's jobs, over outside systems that remember what was done."""

import os
from collections.abc import Iterator

import dagster

from resources.saga import Saga
from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.provisioning.jobs import provision_job, rollback_job
from tenant_pipelines.runs.gateway import DagsterRuns
from tests.crash.recording import recording_world

RECORDS = "CRASH_RECORDS_URL"
SECONDS = "CRASH_CALL_SECONDS"


def job(name: str) -> dagster.JobDefinition:
    """The job with that name, bound to its resources."""
    return defs.resolve_job_def(name)


@dagster.resource
def saga(context: dagster.InitResourceContext) -> Iterator[Saga]:
    """One for each run."""
    given = settings.load()
    database = Database(given.database_url.get_secret_value())
    assert context.instance is not None
    desk = open_desk(given, database, DagsterRuns(context.instance, job))
    world = recording_world(os.environ[RECORDS], given.rules(), seconds=float(os.environ[SECONDS]))
    try:
        yield Saga(given, database, world, desk)
    finally:
        database.close()


defs = dagster.Definitions(jobs=[provision_job(), rollback_job()], resources={"saga": saga})
