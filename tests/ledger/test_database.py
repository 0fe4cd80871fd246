"""The connection to the ledger: what its callers are told when the server cannot do what they ask."""

import pytest
from psycopg import sql

from sandbox.postgres import Server
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.database import Database, Transaction

FULL = sql.SQL("do $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$")


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
