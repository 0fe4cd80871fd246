"""Serves the HTTP door: `python -m tenant_pipelines.rest`."""

import sys

import uvicorn

from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.operations.runs import NoRuns
from tenant_pipelines.rest.app import application


def main() -> int:
    """Serve until asked to stop; 2 when the settings do not do."""
    try:
        return _serve(settings.load())
    except settings.InvalidSettings as invalid:
        sys.stderr.write(f"{invalid}\n")
        return 2


def _serve(given: settings.Settings) -> int:
    database = Database(given.database_url.get_secret_value(), patience=5, size=10)
    try:
        desk = open_desk(given, database, NoRuns())
        app = application(desk, app_plane_secret=given.app_plane_signal_secret.get_secret_value())
        uvicorn.run(app, host=given.rest_host, port=given.rest_port, access_log=False, log_level="warning")
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
