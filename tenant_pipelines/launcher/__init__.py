"""Warm workers: a supervisor, what it keeps warm, and how they take Dagster runs from the queue."""
