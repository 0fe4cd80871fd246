"""The ledger in PostgreSQL, the only place that knows SQL; it knows the domain and the saga, and no Dagster."""
