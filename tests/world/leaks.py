"""Where secrets could show themselves: rows of the ledger and the tenants, logs, the memory of the stand-ins."""

import json
import sqlite3
from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from psycopg import sql

from tests.world.systems import Systems

SCHEMAS = ("engine", "tenant_management")


def shown_anywhere(systems: Systems, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """The names of the secrets that are shown where people look, by the place."""
    found: dict[str, set[str]] = {}
    for place, text in _rows(systems):
        _note(found, secrets, place, text)
    for log in sorted(systems.folder.logs.glob("*.log*")):
        _note(found, secrets, log.name, log.read_text(errors="replace"))
    return found


def remembered_by(systems: Systems, secrets: Mapping[str, str]) -> dict[str, set[str]]:
    """The names of the secrets that the stand-ins were told, by stand-in and kind of object."""
    found: dict[str, set[str]] = {}
    for file in sorted(systems.folder.sandbox.glob("*.sqlite")):
        store = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            for kind, body in store.execute("select kind, body from documents"):
                _note(found, secrets, f"{file.stem} {kind}", body)
        finally:
            store.close()
    return found


def _rows(systems: Systems) -> Iterator[tuple[str, str]]:
    with systems.sql() as admin:
        tables = admin.execute(
            "select table_schema, table_name from information_schema.tables where table_schema = any(%s)",
            [list(SCHEMAS)],
        ).fetchall()
        assert len(tables) > 10
        for schema, table in tables:
            query = sql.SQL("select t::text from {}.{} t").format(sql.Identifier(schema), sql.Identifier(table))
            for (row,) in admin.execute(query):
                yield f"{schema}.{table}", row


def _note(found: dict[str, set[str]], secrets: Mapping[str, str], place: str, text: str) -> None:
    """A secret counts as shown in other spellings as well: JSON's, an address's, base64."""
    for name, secret in secrets.items():
        spellings = (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), b64encode(secret.encode()).decode())
        if any(spelling in text for spelling in spellings):
            found.setdefault(place, set()).add(name)
