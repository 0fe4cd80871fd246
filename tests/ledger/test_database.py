"""The connection to the ledger: one transaction a call, and what callers are told when the server cannot do it."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sandbox.postgres import Server
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.database import Database, Transaction

FULL = sql.SQL("do $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$")


@pytest.fixture
def ledger(database: str) -> Iterator[Database]:
    opened = Database(database, patience=5)
    yield opened
    opened.close()


def test_what_fails_half_way_has_written_nothing(ledger: Database) -> None:
    def work(tx: Transaction) -> None:
        tx._connection.execute("create table half_way ()")
        raise LookupError

    with pytest.raises(LookupError):
        ledger.run(work)

    assert ledger.run(_knows_half_way) is False
    ledger.run(lambda tx: tx._connection.execute("create table half_way ()"))
    assert ledger.run(_knows_half_way) is True


def _knows_half_way(tx: Transaction) -> bool:
    row = tx._connection.execute("select to_regclass('half_way') is not null as known").fetchone()
    assert row is not None
    return bool(row["known"])


def test_a_question_after_a_lost_connection_is_asked_again(ledger: Database, admin: psycopg.Connection) -> None:
    pid = ledger.run(lambda tx: tx._connection.info.backend_pid)
    admin.execute("select pg_terminate_backend(%s, 5000)", [pid])

    assert ledger.ask("ping") == {"?column?": 1}


def test_a_question_stands_in_no_transaction(ledger: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    answer = Transaction.one

    def one(tx: Transaction, query: str, **values: object) -> object:
        found = answer(tx, query, **values)
        seen.append(tx._connection.info.transaction_status)
        return found

    monkeypatch.setattr(Transaction, "one", one)
    ledger.ask("ping")
    ledger.run(lambda tx: tx.one("ping"))

    assert seen == [psycopg.pq.TransactionStatus.IDLE, psycopg.pq.TransactionStatus.INTRANS]


def test_a_full_disk_is_named(postgres: Server) -> None:
    database = Database(postgres.dsn(), patience=0.3)

    def work(tx: Transaction) -> None:
        tx._connection.execute(FULL)

    try:
        with pytest.raises(Refused) as refused:
            database.run(work)
    finally:
        database.close()
    assert refused.value.code is Code.UNAVAILABLE
    assert "disk of the ledger's database is full" in refused.value.message


def test_a_server_that_is_away_is_named() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing", patience=0.3)
    try:
        with pytest.raises(Refused, match="does not answer") as refused:
            database.run(lambda tx: tx.one("ping"))
    finally:
        database.close()
    assert refused.value.code is Code.UNAVAILABLE
