"""The fixtures of the stage."""

from tests.operations.stage import admin, company, control_plane, key, systems

__all__ = ["admin", "company", "control_plane", "key", "systems"]
