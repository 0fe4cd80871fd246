"""What a stand-in remembers: documents by kind and id, in memory, and in a SQLite file that outlives a restart."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Store:
    """Documents of one stand-in. Reads answer the stored object itself: change it, then `put` it again.

    Args:
        file: the SQLite file, or None to keep everything in memory only.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._documents: dict[str, dict[str, Document]] = {}
        self._disk = sqlite3.connect(file or ":memory:", check_same_thread=False, isolation_level=None)
        self._disk.execute("pragma journal_mode = wal")
        self._disk.execute("pragma synchronous = off")
        self._disk.execute(
            "create table if not exists documents (kind text, id text, body text, primary key (kind, id))"
        )
        for kind, key, body in self._disk.execute("select kind, id, body from documents order by rowid"):
            self._documents.setdefault(kind, {})[key] = json.loads(body)

    def put(self, kind: str, key: str, document: Document) -> Document:
        """Store the document under its id, replacing the one before."""
        self._documents.setdefault(kind, {})[key] = document
        self._disk.execute(
            "insert into documents values (?, ?, ?) on conflict (kind, id) do update set body = excluded.body",
            (kind, key, json.dumps(document)),
        )
        return document

    def get(self, kind: str, key: str) -> Document | None:
        """The document, or None."""
        return self._documents.get(kind, {}).get(key)

    def all(self, kind: str) -> list[Document]:
        """Every document of the kind, oldest first."""
        return list(self._documents.get(kind, {}).values())

    def items(self) -> Iterator[tuple[str, str, Document]]:
        """Every document as (kind, id, document)."""
        for kind, documents in self._documents.items():
            for key, document in documents.items():
                yield kind, key, document

    def delete(self, kind: str, key: str) -> bool:
        """Forget the document; False when there was none."""
        self._disk.execute("delete from documents where kind = ? and id = ?", (kind, key))
        return self._documents.get(kind, {}).pop(key, None) is not None

    def close(self) -> None:
        """Close the file."""
        self._disk.close()
