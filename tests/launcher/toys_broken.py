"""Definitions that cannot be imported while a file says so."""

import os
from pathlib import Path

if (Path(os.environ["TOYS_FOLDER"]) / "broken").exists():
    raise RuntimeError("as the file says")

from tests.launcher.toys import defs

__all__ = ["defs"]
