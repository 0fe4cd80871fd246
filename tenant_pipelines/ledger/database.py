"""The connection to the ledger: a small pool, one transaction a call, and patience while the server restarts."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import psycopg
import psycopg.conninfo
import psycopg.errors
import tenacity
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.named_sql import statement

Answer = TypeVar("Answer")
Work = Callable[["Transaction"], Answer]

_OPTIONS = (
    "-c engine.acting=on -c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000"
)
_BEGIN = b"begin"
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


class Transaction:
    """One transaction, or one statement without any around it: named queries with bound values."""

    def __init__(self, connection: psycopg.Connection[DictRow]) -> None:
        self._connection = connection

    def one(self, query: str, **values: object) -> DictRow | None:
        """The first row, or None."""
        return self._run(query, values).fetchone()

    def only(self, query: str, **values: object) -> DictRow:
        """The row that must be there."""
        row = self.one(query, **values)
        if row is None:
            raise LookupError(f"{query} found nothing")
        return row

    def all(self, query: str, **values: object) -> list[DictRow]:
        """Every row."""
        return self._run(query, values).fetchall()

    def do(self, query: str, **values: object) -> int:
        """How many rows were written."""
        return self._run(query, values).rowcount

    def _run(self, query: str, values: Mapping[str, object]) -> psycopg.Cursor[DictRow]:
        bound = {name: Jsonb(value) if isinstance(value, dict) else value for name, value in values.items()}
        return self._connection.execute(statement(query), bound)


class Database:
    """The ledger's database.

    Args:
        url: `postgresql://` of the role control_plane.
        patience: seconds for which a transaction is tried again while the server is away.
        size: connections at most.
    """

    def __init__(self, url: str, *, patience: float = 60.0, size: int = 4) -> None:
        self._url = url
        self._patience = patience
        self._pool: ConnectionPool[psycopg.Connection[DictRow]] = ConnectionPool(
            url,
            min_size=0,
            max_size=size,
            timeout=min(patience, 10.0),
            open=True,
            connection_class=psycopg.Connection[DictRow],
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,  # a lone statement needs no transaction; `run` begins its own
                "connect_timeout": 5,
                "options": _OPTIONS,
                "application_name": "tenant-pipelines",
            },
        )

    def run(self, work: Work[Answer]) -> Answer:
        """Do the work in one transaction; once more after a lost connection, so it must be safe to repeat.

        Raises: Refused UNAVAILABLE when the server stays away; whatever `work` raises, with nothing written.
        """
        return self._patiently(lambda: self._transaction(work))

    def ask(self, query: str, **values: object) -> DictRow | None:
        """The first row of one query that writes nothing, without a transaction around it; None where there is none.

        Raises: Refused UNAVAILABLE when the server stays away.
        """
        return self.each_alone(lambda tx: tx.one(query, **values))

    def each_alone(self, work: Work[Answer]) -> Answer:
        """Do the work with every statement committed by itself; once more after a lost connection, as of `run`."""
        return self._patiently(lambda: self._without_transaction(work))

    def _without_transaction(self, work: Work[Answer]) -> Answer:
        with self._pool.connection() as connection:
            return work(Transaction(connection))

    def _transaction(self, work: Work[Answer]) -> Answer:
        with self._pool.connection() as connection:  # which commits, or rolls back, whatever has been begun
            connection.execute(_BEGIN)
            return work(Transaction(connection))

    def _patiently(self, act: Callable[[], Answer]) -> Answer:
        try:
            return act()
        except _AWAY:  # hardly ever, and only then is it worth counting the tries
            return self._again(act)

    def _again(self, act: Callable[[], Answer]) -> Answer:
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_AWAY),
            stop=tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        try:
            answer: Answer = tries(act)
        except _AWAY as error:
            raise Refused(Code.UNAVAILABLE, _said_of(error)) from error
        return answer

    def away(self) -> str:
        """What is to be said of a server that does not answer; a workflow's error may name host and port."""
        where = psycopg.conninfo.conninfo_to_dict(self._url)
        return f"does not answer: Connection refused (ECONNREFUSED) {where.get('host')}:{where.get('port', 5432)}"

    def close(self) -> None:
        """Close the pool and its threads."""
        self._pool.close()


def _said_of(error: Exception) -> str:
    if isinstance(error, psycopg.errors.DiskFull):
        return "The disk of the ledger's database is full: nothing was written. Make room there, then try again."
    return "The ledger's database does not answer. Try again in a moment."
