"""The queue of launches for warm workers."""

from alembic import op

from tenant_pipelines.ledger.migrate import script

revision = "0005"
down_revision = "0001"


def upgrade() -> None:
    """Run the release's script; it may be run again on a database in use."""
    op.get_bind().exec_driver_sql(script("0005_launches.sql"))
