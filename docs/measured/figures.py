"""Reads what `make bench` has written, and shows it as the terminal does."""

import io
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console

from benchmarks import tables
from benchmarks.results import Results

FILE = Path(__file__).parent / "figures.json"
WIDTH = 120
"""Columns, as on a terminal."""


def read(file: Path = FILE) -> Results:
    """The figures.

    Raises: ValueError when the file is not what `python -m benchmarks --json` writes.
    """
    found: Results = TypeAdapter(Results).validate_json(file.read_bytes())
    return found


def text(results: Results) -> str:
    """Every table, as a block of code for a page."""
    written = io.StringIO()
    console = Console(width=WIDTH, file=written, highlight=False)
    for part in tables.shown(results):
        console.print(part)
    lines = "\n".join(line.rstrip() for line in written.getvalue().splitlines())
    return f"```text\n{lines}\n```\n"
