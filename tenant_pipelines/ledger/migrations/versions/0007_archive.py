"""The archive of closed executions."""

from alembic import op

from tenant_pipelines.ledger.migrate import script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the release's script; it may be run again on a database in use."""
    op.get_bind().exec_driver_sql(script("0007_archive.sql"))
