"""The fixtures of the stage, and one that hears what the ledger asks."""

from collections.abc import Mapping

import psycopg
import pytest

from tenant_pipelines.ledger.database import Transaction
from tests.operations.stage import admin, company, control_plane, key, systems

__all__ = ["admin", "company", "control_plane", "key", "systems"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the queries, in their order."""
    names: list[str] = []
    run = Transaction._run

    def noted(tx: Transaction, query: str, values: Mapping[str, object]) -> psycopg.Cursor[dict[str, object]]:
        names.append(query)
        return run(tx, query, values)

    monkeypatch.setattr(Transaction, "_run", noted)
    return names
