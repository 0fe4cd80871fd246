"""The proxy before PostgreSQL: with psycopg 3 and psycopg 2, over real sockets, before a real server."""

import importlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sandbox import tcp_proxy
from sandbox.postgres_proxy import PostgresProxy
from sandbox.postgres_wire import Frames, Statement

psycopg2: Any = importlib.import_module("psycopg2")


@dataclass
class Proxy:
    """The proxy under test."""

    dsn: str
    direct: str
    port: int
    http: httpx.Client

    def arm(self, operation: str, mode: str, *, times: int = 1, tenant: str | None = None) -> None:
        fault = {"operation": operation, "mode": mode, "times": times} | ({"tenant": tenant} if tenant else {})
        self.http.put("/_sandbox/faults", json=[fault]).raise_for_status()

    def clear(self) -> None:
        self.http.put("/_sandbox/faults", json=[]).raise_for_status()

    def armed(self) -> list[dict[str, Any]]:
        left: list[dict[str, Any]] = self.http.get("/_sandbox/faults").json()
        return left

    def objects(self, tenant: str | None = None) -> list[tuple[str, str, bool]]:
        answer = self.http.get("/_sandbox/state", params={"tenant": tenant} if tenant else {})
        return [(entry["kind"], entry["name"], entry["ours"]) for entry in answer.json()["objects"]]

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=5, **options)


@pytest.fixture(scope="module")
def proxy(shared_database: str) -> Iterator[Proxy]:
    info = conninfo_to_dict(shared_database)
    upstream = tcp_proxy.Upstream(int(str(info["port"])))
    with (
        tcp_proxy.running(PostgresProxy(upstream, shared_database)) as (port, http),
        httpx.Client(base_url=f"http://127.0.0.1:{http}", trust_env=False) as client,
    ):
        yield Proxy(make_conninfo(shared_database, port=port), shared_database, port, client)


@pytest.fixture(autouse=True)
def _nothing_armed(proxy: Proxy) -> Iterator[None]:
    yield
    proxy.clear()


@pytest.fixture
def direct(proxy: Proxy) -> Iterator[psycopg.Connection[Any]]:
    """A connection that does not go through the proxy, with an empty table."""
    with psycopg.connect(proxy.direct, autocommit=True) as connection:
        connection.execute("create table notes (who text, what text)")
        yield connection
        connection.execute("drop table notes")


def _notes(connection: psycopg.Connection[Any]) -> list[str]:
    return [row[0] for row in connection.execute("select what from notes order by what")]


def _until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def _leave_hanging(proxy: Proxy, statement: str, values: tuple[str, ...] = (), seconds: float = 0.4) -> bool:
    """Send a statement, wait a moment for the answer, and go away. Answers whether one came."""
    connection = proxy.connect()
    came = threading.Event()

    def ask() -> None:
        try:
            connection.execute(statement, values)
            came.set()
        except psycopg.OperationalError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    answered = came.wait(seconds)
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)
    assert not thread.is_alive()
    connection.close()
    return answered


# Nothing armed


def test_statements_of_psycopg_3_pass(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    with psycopg.connect(proxy.dsn) as connection:
        for number in range(8):  # from the sixth time on it is a prepared statement
            connection.execute("insert into notes values (%s, %s)", ("acme", str(number)))
        with connection.pipeline():
            connection.execute("insert into notes values ('acme', '8')")
            connection.execute("insert into notes values ('acme', '9')")
    with proxy.connect() as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("select * from nothing")

    assert _notes(direct) == [str(number) for number in range(10)]


def test_statements_of_psycopg_2_pass(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    connection = psycopg2.connect(proxy.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("insert into notes values (%s, %s)", ("acme", "two"))
    connection.close()

    assert _notes(direct) == ["two"]


def test_large_values_and_copy_pass(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    large = "x" * 3_000_000
    proxy.arm("NEVER", "refuse")  # statements are looked at, none is hit
    with proxy.connect() as connection:
        assert connection.execute("select length(%s::text)", (large,)).fetchone() == (3_000_000,)
        with connection.cursor().copy("copy notes from stdin") as copy:
            for number in range(2000):
                copy.write_row(("acme", f"{number:04}" + "y" * 500))

    assert len(_notes(direct)) == 2000


def test_notifications_pass(proxy: Proxy) -> None:
    with proxy.connect() as listener, proxy.connect() as speaker:
        listener.execute("listen news")
        speaker.execute("notify news, 'hello'")

        assert [note.payload for note in listener.notifies(timeout=5, stop_after=1)] == ["hello"]


def test_a_cancel_request_passes(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        timer = threading.Timer(0.2, connection.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(20)")
        timer.join()


def test_a_wrong_password_is_the_servers_to_refuse(proxy: Proxy) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(make_conninfo(proxy.dsn, password="wrong"))


def test_something_that_is_no_client_is_turned_away(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")

        assert stranger.recv(100) == b""


# Faults at connect


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("rate_limited", "too many clients"),
        ("server_error", "starting up"),
        ("unauthorized", "password authentication failed"),
        ("refuse", None),
        ("half_done", None),
    ],
)
def test_a_connection_goes_wrong_once(proxy: Proxy, mode: str, words: str | None) -> None:
    proxy.arm("connect", mode)

    with pytest.raises(psycopg.OperationalError, match=words):
        proxy.connect()

    with proxy.connect() as connection:
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("mode", ["timeout_before", "timeout_after", "late_effect"])
def test_a_connection_that_is_not_answered(proxy: Proxy, mode: str) -> None:
    proxy.arm("connect", mode)
    words = b"user\0postgres\0database\0postgres\0\0"

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3) as client:
        client.sendall(struct.pack("!II", 8 + len(words), 196608) + words)
        with pytest.raises(TimeoutError):
            client.recv(1)

    assert proxy.armed() == []


def test_a_database_that_is_down_refuses_truly_until_it_is_back(proxy: Proxy) -> None:
    proxy.arm("*", "refuse", times=1000)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    proxy.clear()

    proxy.connect().close()


def test_a_server_that_is_away_drops_its_clients() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        upstream = tcp_proxy.Upstream(nobody.getsockname()[1])
        with (
            tcp_proxy.running(PostgresProxy(upstream, "host=127.0.0.1")) as (port, _),
            pytest.raises(psycopg.OperationalError),
        ):
            psycopg.connect(f"host=127.0.0.1 port={port} user=u dbname=d connect_timeout=5 sslmode=disable")


# Faults of statements


@pytest.mark.parametrize(
    ("mode", "kept", "sqlstate"),
    [
        ("refuse", [], None),
        ("server_error", [], "57P01"),
        ("rate_limited", [], "53300"),
        ("unauthorized", [], "28P01"),
        ("half_done", ["a"], None),
    ],
)
@pytest.mark.parametrize("times_before", [0, 7], ids=["plain", "prepared"])
def test_a_statement_goes_wrong(
    proxy: Proxy,
    direct: psycopg.Connection[Any],
    mode: str,
    kept: list[str],
    sqlstate: str | None,
    times_before: int,
) -> None:
    connection = proxy.connect()
    for _ in range(times_before):
        connection.execute("insert into notes values (%s, %s)", ("acme", "before"))
    direct.execute("delete from notes")
    proxy.arm("INSERT", mode, tenant="acme")

    connection.execute("insert into notes values (%s, %s)", ("acme2", "another tenant"))
    connection.execute("select 'acme'")
    with pytest.raises(psycopg.OperationalError) as caught:
        connection.execute("insert into notes values (%s, %s)", ("acme", "a"))

    assert caught.value.sqlstate == sqlstate
    assert _notes(direct) == [*kept, "another tenant"]
    assert connection.broken
    assert proxy.armed() == []


def test_a_function_is_an_operation(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    direct.execute("create function note(key text) returns void language sql as 'insert into notes values (key, key)'")
    proxy.arm("note", "half_done", tenant="acme")

    with proxy.connect() as connection:
        connection.execute("select note(%s)", ("other",))
    with pytest.raises(psycopg.OperationalError):
        proxy.connect().execute("select note(%s)", ("acme",))

    assert _notes(direct) == ["acme", "other"]
    direct.execute("drop function note")


@pytest.mark.parametrize(("mode", "kept"), [("timeout_before", []), ("timeout_after", ["a"])])
def test_a_statement_that_is_not_answered(
    proxy: Proxy, direct: psycopg.Connection[Any], mode: str, kept: list[str]
) -> None:
    proxy.arm("INSERT", mode, tenant="acme")

    answered = _leave_hanging(proxy, "insert into notes values (%s, %s)", ("acme", "a"))

    assert not answered
    assert _notes(direct) == kept


def test_a_statement_in_the_simple_protocol_is_known_too(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    proxy.arm("INSERT", "half_done", tenant="acme")
    connection = psycopg2.connect(proxy.dsn)
    connection.autocommit = True

    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("/* note */ insert into notes values ('tenant_acme', 'a')")

    assert _notes(direct) == ["a"]
    connection.close()


def test_a_late_statement_lands_after_a_look_at_the_same_tenant(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    proxy.arm("INSERT", "late_effect", tenant="acme")

    answered = _leave_hanging(proxy, "insert into notes values (%s, %s)", ("acme", "a"))
    with proxy.connect() as connection:
        connection.execute("select 'another tenant'")
        before = connection.execute("select count(*) from notes where who = 'acme'").fetchone()
        _until(lambda: _notes(direct) == ["a"])

    assert not answered
    assert before == (0,)


def test_a_late_statement_waits_as_long_as_nobody_looks(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    proxy.arm("INSERT", "late_effect", tenant="acme")
    _leave_hanging(proxy, "insert into notes values (%s, %s)", ("acme", "a"))

    with proxy.connect() as connection:
        until = time.monotonic() + 1.4
        while time.monotonic() < until:
            connection.execute("select pg_sleep(0.1), 'neighbour'")
            connection.execute("insert into notes values (%s, %s)", ("acme2", "b"))
        early = _notes(direct)
        connection.execute("select 'acme'")

    assert "a" not in early
    _until(lambda: "a" in _notes(direct))


def test_a_commit_is_about_what_was_said_since_begin(proxy: Proxy, direct: psycopg.Connection[Any]) -> None:
    proxy.arm("COMMIT", "half_done", tenant="acme")

    with psycopg.connect(proxy.dsn) as connection:
        connection.execute("insert into notes values ('other', 'b')")
    with pytest.raises(psycopg.OperationalError), psycopg.connect(proxy.dsn) as connection:
        connection.execute("insert into notes values ('acme', 'a')")

    assert _notes(direct) == ["a", "b"]


def test_a_slow_answer_is_the_right_one(proxy: Proxy) -> None:
    proxy.arm("SELECT", "slow")
    start = time.monotonic()

    with proxy.connect() as connection:
        assert connection.execute("select 7").fetchone() == (7,)

    assert time.monotonic() - start >= 2


# Inspection


def test_schemas_roles_and_rows_of_a_tenant_are_shown(proxy: Proxy) -> None:
    mark = "managedBy=tenant-pipelines tenantId=x tenantKey=sighted"
    tenant = "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11"
    with psycopg.connect(proxy.direct, autocommit=True) as connection:
        connection.execute("create schema tenant_sighted")
        connection.execute("create schema tenant_sighted2")
        connection.execute(f"comment on schema tenant_sighted is '{mark}'")
        connection.execute("create role tenant_sighted")
        connection.execute(
            "insert into tenant_management.tenants (id, key, name, status, tier)"
            " values (%s, 'sighted', 'Acme', 1, 'pooled')",
            (tenant,),
        )
        connection.execute(
            "insert into tenant_management.resources (tenant_id, type, external_identifier) values (%s, 'bucket', 'b')",
            (tenant,),
        )

        found = proxy.objects("sighted")
        everything = proxy.objects()

        connection.execute("drop role tenant_sighted")
        connection.execute("drop schema tenant_sighted, tenant_sighted2")
        connection.execute("delete from tenant_management.tenants where id = %s", (tenant,))

    assert found == [("schema", "tenant_sighted", True), ("role", "tenant_sighted", False), ("row", "b", True)]
    assert ("schema", "tenant_sighted2", False) in everything
    assert all(name != "tenant_management" for _, name, _ in everything)
    assert proxy.objects("sighted") == []


def test_a_database_without_our_tables_has_no_rows(postgres: Any) -> None:
    proxy = PostgresProxy(tcp_proxy.Upstream(postgres.port), postgres.dsn())
    with tcp_proxy.running(proxy) as (_, http):
        answer = httpx.get(f"http://127.0.0.1:{http}/_sandbox/state?tenant=acme", trust_env=False)

    assert answer.json() == {"objects": []}


# The wire


@pytest.mark.parametrize(
    ("sql", "operations"),
    [
        ("select 1", ["SELECT"]),
        ("  -- why\n /* how */ (select now())", ["SELECT", "now"]),
        ("select tenant_management.create_tenant_schema('acme')", ["SELECT", "create_tenant_schema"]),
        ("BEGIN; update t set a = 1", ["BEGIN", "UPDATE"]),
        ("with x as (insert into t select 1 returning *) select * from x", ["WITH", "INSERT"]),
        ("", []),
    ],
)
def test_statements_go_by_these_names(sql: str, operations: list[str]) -> None:
    found = Statement(sql).operations

    assert [name for name in found if name not in {"as", "x"}] == operations


def test_messages_are_cut_wherever_the_stream_is_cut() -> None:
    messages = [b"Q" + struct.pack("!I", 4 + size) + b"x" * size for size in (0, 1, 300)]
    stream = b"".join(messages)

    for size in (1, 2, 7, len(stream)):
        frames = Frames()
        cut = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [message for piece in cut for message in frames.feed(piece)] == messages
