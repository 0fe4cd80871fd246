"""Our jobs on a real Dagster instance, a real ledger, and the fake systems."""

from tests.runs.fixtures import instance, settings_for_tests, stage, systems

__all__ = ["instance", "settings_for_tests", "stage", "systems"]
