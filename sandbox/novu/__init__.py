"""Novu's stand-in."""

from sandbox.novu.environment import WORKFLOWS
from sandbox.novu.server import Novu

__all__ = ["WORKFLOWS", "Novu"]
