"""PostgreSQL: one schema and one login role per tenant, in the database the product lives in."""

from tenant_pipelines.adapters.postgres.schemas import Postgres, PostgresConfig

__all__ = ["Postgres", "PostgresConfig"]
