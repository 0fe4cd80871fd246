"""Fakes of the outside systems and of the gateway to Dagster, for tests of the engine's rules."""
