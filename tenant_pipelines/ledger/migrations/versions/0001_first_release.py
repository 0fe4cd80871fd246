"""The first release: tenants, the ledger, the rules, the schema function, and who may use them."""

from alembic import op

from tenant_pipelines.ledger.migrate import script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the release's scripts in their order; each may be run again on a database in use."""
    for name in (
        "0001_tenants.sql",
        "0002_engine.sql",
        "0003_rules.sql",
        "0004_access.sql",
        "create_tenant_schema.sql",
        "rows_0001_reserved.sql",
    ):
        op.get_bind().exec_driver_sql(script(name))
