"""Brings a database to this release's schema (Alembic), and writes the script that restores one in use."""

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

HERE = Path(__file__).parent
SCRIPTS = HERE / "migrations" / "sql"
FUNCTION = HERE / "sql" / "create_tenant_schema.sql"

RESTORING = (
    "0001_tenants.sql",
    "0002_engine.sql",
    "0003_rules.sql",
    "0004_access.sql",
    "create_tenant_schema.sql",
    "0005_launches.sql",
    "0006_parking.sql",
    "0007_archive.sql",
    "0009_actor.sql",
)
"""The scripts that restore schema objects and touch no row, in their order."""


def script(name: str) -> str:
    """The text of one migration script; literal percent signs are kept from the driver."""
    file = FUNCTION if name == FUNCTION.name else SCRIPTS / name
    return file.read_text().replace("%", "%%")


def upgrade(dsn: str) -> None:
    """Migrate to the newest version in one transaction.

    Args: dsn: a `postgresql://` URL of a role that may create schemas and roles (the installer's, not the product's).
    Raises: sqlalchemy.exc.SQLAlchemyError, with nothing changed.
    """
    url = sqlalchemy.make_url(dsn).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    config = Config()
    config.set_main_option("script_location", str(HERE / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def restoring_script() -> str:
    """What `docker/init-db/01-init-schemas.sql` holds: generated, so that it cannot differ from the migrations."""
    head = (
        "-- Generated from the migrations (make docs). Restores schema objects, the function, owners, search path and\n"
        "-- grants on a database in use; touches no row. To be run by the database's administrator.\n"
    )
    parts = ((FUNCTION if name == FUNCTION.name else SCRIPTS / name).read_text().strip() for name in RESTORING)
    return head + "\n" + "\n\n".join(parts) + "\n"
