"""The local stack: every outside system, Dagster and our doors on one machine, under one supervisor."""
