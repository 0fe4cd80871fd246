"""How commands speak: tables for people, one JSON document for programs, and the contract's exit codes."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Failed(Exception):
    """A command cannot do what was asked.

    Args:
        message: for people.
        code: the exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def show_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """One document on standard output; times as RFC 3339 writes them."""
    typer.echo(json.dumps(document, indent=2, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
