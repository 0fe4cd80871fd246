"""The proxy before the real PostgreSQL: passes everything on, and carries the fault switch and the inspection.

Operations of the switch: `connect`; the first word of a statement in capitals, as `INSERT` or `CREATE`; the name of a
function it calls, as `create_tenant_schema`. A fault with a tenant hits statements whose text or parameters name the
tenant's key; `COMMIT` is known by what was said since `BEGIN`.

Statements are taken as clients send them: one Query, or Parse, Bind, Execute up to their Sync. Encryption is declined,
as a server without it does. A late statement lands on the session it was sent in, which is kept open for that; outside
of a transaction, or as its COMMIT, it then counts, while one inside a transaction is rolled back with it.
"""

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from dataclasses import replace

import psycopg

from sandbox import faults
from sandbox.faults import Fault, Mode
from sandbox.postgres_wire import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    LONGEST_STARTUP,
    SSL_REQUEST,
    Frames,
    Session,
    error,
    startup_values,
)
from sandbox.standin import LONGEST_HANG, Seen
from sandbox.store import Store
from sandbox.tcp_proxy import CHUNK, Late, TcpProxy, Upstream, reset, until_gone

MANAGED_BY = "managedBy=tenant-pipelines"
SLOW = 2.0
"""Seconds by which a slow answer comes late."""

LONGEST_EFFECT = 30.0
"""Seconds that the server is given for a statement whose client has gone."""

MOST_SAID = 64 * 1024
"""Characters of a transaction that are remembered."""

_UNITS = frozenset({b"Q", b"P", b"B", b"D", b"E", b"C", b"H", b"S", b"F"})
_ENDS = frozenset({b"Q", b"S", b"H", b"F"})
_TERMINATE = b"X" + struct.pack("!I", 4)

_SCHEMAS = """
select nspname, coalesce(obj_description(oid, 'pg_namespace'), '')
  from pg_namespace where nspname like 'tenant\\_%' and nspname <> 'tenant_management' order by 1
"""
_ROLES = """
select rolname, coalesce(shobj_description(oid, 'pg_authid'), '')
  from pg_roles where rolname like 'tenant\\_%' order by 1
"""
_ROWS = """
select r.id::text, t.key, r.external_identifier
  from tenant_management.resources r join tenant_management.tenants t on t.id = r.tenant_id order by r.created_on
"""


class PostgresProxy(TcpProxy):
    """PostgreSQL with a fault switch.

    Args:
        upstream: the real server.
        dsn: how the inspection reaches the product's database, as superuser; directly, not through the proxy.
    """

    name = "postgres"

    def __init__(self, upstream: Upstream, dsn: str, store: Store | None = None) -> None:
        super().__init__(upstream, store)
        self._dsn = dsn

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it is gone."""
        startup = await _startup(reader, writer)
        if startup is None:
            return
        try:
            server = await self.connect()
        except OSError:
            reset(writer)
            return
        await _Connection(self, (reader, writer), server).serve(startup)

    async def state(self, tenant: str | None) -> Sequence[Seen]:
        """Schemas, roles and resource rows, as the real server has them."""
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            schemas = await (await connection.execute(_SCHEMAS)).fetchall()
            roles = await (await connection.execute(_ROLES)).fetchall()
            there = await (await connection.execute("select to_regclass('tenant_management.resources')")).fetchone()
            rows = await (await connection.execute(_ROWS)).fetchall() if there and there[0] else []
        shown = [Seen("schema", name, name, MANAGED_BY in said) for name, said in schemas if _is_of(name, tenant)]
        shown += [Seen("role", name, name, MANAGED_BY in said) for name, said in roles if _is_of(name, tenant)]
        return shown + [Seen("row", id_, name, True) for id_, key, name in rows if tenant in {None, key}]


def _is_of(name: str, tenant: str | None) -> bool:
    return tenant is None or faults.mentions(name, tenant)


def _at_connect(fault: Fault | None) -> Fault | None:
    """A connection has no effect of its own: what is late or half done there is simply missing."""
    if fault is None:
        return None
    meant = {
        Mode.TIMEOUT_AFTER: Mode.TIMEOUT_BEFORE,
        Mode.LATE_EFFECT: Mode.TIMEOUT_BEFORE,
        Mode.HALF_DONE: Mode.REFUSE,
    }
    return replace(fault, mode=meant.get(fault.mode, fault.mode))


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    """The client's first real message: requests for encryption are declined. None when there is none."""
    while True:
        header = await reader.readexactly(8)
        size, code = struct.unpack("!II", header)
        if not 8 <= size <= LONGEST_STARTUP:
            return None
        packet = header + await reader.readexactly(size - 8)
        if code not in {SSL_REQUEST, GSS_REQUEST}:
            return packet
        writer.write(b"N")
        await writer.drain()


class _Connection:
    """One client and the session that was opened for it."""

    def __init__(
        self,
        proxy: PostgresProxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = client
        self._server_reader, self._server_writer = server
        self._session = Session()
        self._unit: list[bytes] = []
        self._said = ""
        self._muted = False
        self._kept = False
        self._ready = asyncio.Event()
        self._answers: asyncio.Task[None] | None = None

    async def serve(self, startup: bytes) -> None:
        user = startup_values(startup).get("user", "")
        text = " ".join(startup_values(startup).values())
        is_cancel = struct.unpack("!I", startup[4:8])[0] == CANCEL_REQUEST
        fault = None if is_cancel else _at_connect(self._proxy.switch.take("connect", text))
        self._answers = asyncio.create_task(self._pass_answers())
        try:
            if fault is not None and not await self._go_wrong(fault, "connect", startup, user):
                return
            if fault is None:
                self._server_writer.write(startup)
            if is_cancel:
                await self._answers
                return
            await self._pass_statements(user)
        finally:
            if not self._kept:
                self._answers.cancel()
                self._server_writer.close()

    async def _pass_answers(self) -> None:
        """From the server to the client; when muted, only the end of each answer is looked for."""
        frames: Frames | None = None
        with contextlib.suppress(OSError):
            while data := await self._server_reader.read(CHUNK):
                if not self._muted:
                    self._writer.write(data)
                    await self._writer.drain()
                    continue
                frames = frames or Frames()
                if any(message[:1] == b"Z" for message in frames.feed(data)):
                    self._ready.set()
        self._ready.set()
        if not self._muted:
            self._writer.close()

    async def _pass_statements(self, user: str) -> None:
        frames = Frames()
        while data := await self._reader.read(CHUNK):
            passed = bytearray()
            for message in frames.feed(data):
                self._session.note(message)
                if not self._unit and (self._proxy.idle or message[:1] not in _UNITS):
                    passed += message
                    continue
                self._unit.append(message)
                if message[:1] in _ENDS:
                    self._server_writer.write(bytes(passed))
                    passed.clear()
                    if not await self._handle(self._take_unit(), user):
                        return
            if passed:
                self._server_writer.write(bytes(passed))
            await self._server_writer.drain()

    def _take_unit(self) -> list[bytes]:
        unit, self._unit = self._unit, []
        return unit

    async def _handle(self, unit: list[bytes], user: str) -> bool:
        """Carry out one statement, or let it go wrong; False when the connection is of no use any more."""
        statements = self._session.statements(unit)
        text = " ".join(statement.text for statement in statements)
        operations = [name for statement in statements for name in statement.operations]
        said = self._remember(operations, text)
        for operation in operations:
            if (fault := self._proxy.switch.take(operation, said)) is not None:
                return await self._go_wrong(fault, operation, b"".join(unit), user)
        self._server_writer.write(b"".join(unit))
        self._proxy.late.looked(operations, said)
        return True

    def _remember(self, operations: Sequence[str], text: str) -> str:
        """What the statement is about: its own words and, for the end of a transaction, those of the transaction."""
        if "BEGIN" in operations or "START" in operations:
            self._said = text
            return text
        if {"COMMIT", "END", "ROLLBACK"} & set(operations):
            whole, self._said = f"{self._said} {text}", ""
            return whole
        if self._said:
            self._said = f"{self._said} {text}"[:MOST_SAID]
        return text

    async def _go_wrong(self, fault: Fault, operation: str, data: bytes, user: str) -> bool:
        match fault.mode:
            case Mode.SLOW:
                await asyncio.sleep(SLOW)
                self._server_writer.write(data)
                return True
            case Mode.REFUSE:
                self._muted = True
                reset(self._writer)
            case Mode.TIMEOUT_BEFORE:
                self._muted = True
                await self._hang()
            case Mode.TIMEOUT_AFTER:
                self._send_muted(data)
                await self._hang()
                await self._effect()
            case Mode.HALF_DONE:
                self._send_muted(data)
                await self._effect()
                reset(self._writer)
            case Mode.LATE_EFFECT:
                await self._hold(fault, operation, data)
            case Mode.RATE_LIMITED | Mode.SERVER_ERROR | Mode.UNAUTHORIZED:
                await self._answer(fault.mode, operation, user)
        return False

    def _send_muted(self, data: bytes) -> None:
        self._muted = True
        self._ready.clear()
        self._server_writer.write(data)

    async def _hold(self, fault: Fault, operation: str, data: bytes) -> None:
        self._muted = self._kept = True
        late = Late(fault, operation, lambda: self._land(data))
        self._proxy.late.hold(late)
        await self._hang()
        late.left = True

    async def _land(self, data: bytes) -> None:
        """The client has gone long since; its session is still there and carries the statement out."""
        self._send_muted(data)
        await self._effect()
        with contextlib.suppress(OSError):
            self._server_writer.write(_TERMINATE)
            await self._server_writer.drain()
        self._server_writer.close()

    async def _hang(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_HANG):
                await until_gone(self._reader)

    async def _effect(self) -> None:
        """Wait until the statement is done: the server rolls back what a closed connection had begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_EFFECT):
                await self._ready.wait()

    async def _answer(self, mode: Mode, operation: str, user: str) -> None:
        """An error of the server's own that ends the session, and the end of the session."""
        self._muted = True
        match mode:
            case Mode.RATE_LIMITED:
                words = error("FATAL", "53300", "sorry, too many clients already")
            case Mode.UNAUTHORIZED:
                words = error("FATAL", "28P01", f'password authentication failed for user "{user}"')
            case _ if operation == "connect":
                words = error("FATAL", "57P03", "the database system is starting up")
            case _:
                words = error("FATAL", "57P01", "terminating connection due to administrator command")
        self._writer.write(words)
        await self._writer.drain()
