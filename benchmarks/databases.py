"""What the databases have been asked for: the server's counters, and statements counted in its log."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.home import Home
from sandbox.stack.names import DAGSTER, PRODUCT
from sandbox.stack.programs import POSTGRES

NAMES = (PRODUCT, DAGSTER)
FLUSHED = 1.2
"""Seconds after which a session has told the server's counters what it did last."""

WRITTEN = 0.5
"""Seconds after which what the server has logged is in the file: the supervisor writes it."""

_COUNTERS = """
select datname, xact_commit, xact_rollback, sessions from pg_stat_database where datname = any(%s)
"""
_PREFIX = "bench/%d/ "
_STATEMENT = re.compile(r"bench/(\w+)/ LOG:  (?:statement|execute [^:]*):")


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the server's start, by database."""

    commits: dict[str, float]
    rollbacks: dict[str, float]
    connections: dict[str, float]


def counters(home: Home) -> Counters:
    """As of now; our own look is in the database `postgres` and not counted."""
    time.sleep(FLUSHED)
    with psycopg.connect(home.server.dsn(), autocommit=True) as admin:
        rows = admin.execute(_COUNTERS, [list(NAMES)]).fetchall()
    return Counters(
        commits={row[0]: float(row[1]) for row in rows},
        rollbacks={row[0]: float(row[2]) for row in rows},
        connections={row[0]: float(row[3]) for row in rows},
    )


def server_version(home: Home) -> str:
    """Of PostgreSQL."""
    with psycopg.connect(home.server.dsn()) as admin:
        return str(admin.info.parameter_status("server_version"))


@contextmanager
def statements_logged(home: Home) -> Iterator[Callable[[], dict[str, float]]]:
    """Let the server log every statement; hands over what answers their number so far, by database.

    For stacks of our own only: the log then holds whatever the statements hold.
    """
    log = home.folder.logs / f"{POSTGRES}.log"
    with psycopg.connect(home.server.dsn(), autocommit=True) as admin:
        begin = log.stat().st_size
        _configure(admin, {"log_statement": "all", "log_line_prefix": _PREFIX, "log_parameter_max_length": "0"})
        try:
            yield lambda: _count_in(log, begin)
        finally:
            _configure(admin, dict.fromkeys(("log_statement", "log_line_prefix", "log_parameter_max_length")))


def statements_a_second(home: Home, seconds: float) -> dict[str, float]:
    """Of a stack of our own, from now on, by database."""
    with statements_logged(home) as counted:
        time.sleep(seconds)
        return {name: number / seconds for name, number in counted().items()}


def _count_in(log: Path, begin: int) -> dict[str, float]:
    time.sleep(WRITTEN)
    return count(_lines_from(log, begin))


def count(lines: Iterable[str]) -> dict[str, float]:
    """Statements by database. BEGIN and COMMIT are among them, as each is a round trip."""
    found = (match[1] for line in lines if (match := _STATEMENT.match(line)))
    return {name: float(number) for name, number in Counter(found).items()}


def _configure(admin: psycopg.Connection, settings: Mapping[str, str | None]) -> None:
    """Set them for the whole server, or (None) take them back."""
    for name, value in settings.items():
        if value is None:
            admin.execute(sql.SQL("alter system reset {}").format(sql.Identifier(name)))
        else:
            admin.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    admin.execute("select pg_reload_conf()")
    time.sleep(0.5)  # until every process of the server has seen it; nothing tells


def _lines_from(log: Path, begin: int) -> Iterator[str]:
    """What has been written since; a log that the supervisor has put aside meanwhile is read first."""
    aside = log.with_name(f"{log.name}.1")
    if log.stat().st_size < begin:
        yield from _read(aside, begin)
        begin = 0
    yield from _read(log, begin)


def _read(log: Path, begin: int) -> Iterator[str]:
    with log.open("rb") as file:
        file.seek(begin)
        for line in file:
            yield line.decode("utf-8", "replace")
