"""The engine: one step forward, one step back; no Dagster and no I/O of its own."""
