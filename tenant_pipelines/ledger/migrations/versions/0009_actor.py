"""Only the role control_plane may call itself the engine."""

from alembic import op

from tenant_pipelines.ledger.migrate import script

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    """Run the release's script; it may be run again on a database in use."""
    op.get_bind().exec_driver_sql(script("0009_actor.sql"))
