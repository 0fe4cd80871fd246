"""SQL where SQL lives: `queries/*.sql`, each query under a name that says what it answers."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "queries"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def all_queries() -> Mapping[str, str]:
    """Every query of every file, by its name.

    Raises: ValueError when two have the same name.
    """
    found: dict[str, str] = {}
    for file in sorted(FOLDER.glob("*.sql")):
        parts = _NAME.split(file.read_text())[1:]
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            if name in found:
                raise ValueError(f"two queries are called {name}")
            found[name] = text.strip()
    return found


@cache
def statement(name: str) -> bytes:
    """The query of that name, as it is sent."""
    return all_queries()[name].encode()
