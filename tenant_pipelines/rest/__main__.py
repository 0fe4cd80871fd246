"""Serves the HTTP door: `python -m tenant_pipelines.rest`."""

import sys

import uvicorn
from dagster import DagsterInstance

from tenant_pipelines import settings
from tenant_pipelines.definitions import job
from tenant_pipelines.desk import open_desk
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.rest.app import application
from tenant_pipelines.runs.gateway import DagsterRuns


def main() -> int:
    """Serve until asked to stop; 2 when the settings do not do."""
    try:
        given = settings.load()
    except settings.InvalidSettings as invalid:
        sys.stderr.write(f"{invalid}\n")
        return 2
    database = Database(given.database_url.get_secret_value(), patience=5, size=10)
    with DagsterInstance.get() as instance:
        desk = open_desk(given, database, DagsterRuns(instance, job))
        app = application(desk, app_plane_secret=given.app_plane_signal_secret.get_secret_value())
        uvicorn.run(app, host=given.rest_host, port=given.rest_port, access_log=False, log_level="warning")
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
