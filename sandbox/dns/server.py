"""The name server of the sandbox: signatures, faults, and the sockets.

Source: RFC 1035 section 4.2 (UDP and TCP), RFC 2136 section 3.1 and 3.3 (who may update), RFC 8945 (TSIG).
"""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rrset
import dns.tsig
from dns.message import Message
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.update import UpdateMessage

from sandbox.dns.messages import Rejected, Silence, bare, elsewhere, fitting, rejected, signed, tsig_error
from sandbox.dns.zone import FIXED, Zone
from sandbox.faults import Mode
from sandbox.serving import LOOPBACK
from sandbox.standin import LATE_AFTER_A_LOOK, LONGEST_HANG, Seen, StandIn
from sandbox.store import Store

MARK_LABEL = dns.name.from_text("_tenant-pipelines", None)

Effect = Callable[[], Message]


class NameServer(StandIn):
    """One zone on UDP and TCP; the HTTP side is only the switch and the inspection.

    Operations of the switch: `QUERY` and `UPDATE`.

    Args:
        zone: the zone's name. fixed: the records it begins with, as a zone file.
        key_name: name of the TSIG key (hmac-sha256) that may update. key_secret: that key in base64.
    """

    name = "dns"

    def __init__(
        self,
        store: Store | None = None,
        *,
        zone: str = "localhost",
        key_name: str = "tenant-pipelines",
        key_secret: str,
        fixed: str = FIXED,
    ) -> None:
        super().__init__(store)
        self.zone = Zone(self.store, zone, fixed)
        self._key = dns.tsig.Key(key_name, key_secret, "hmac-sha256")
        self._late: list[tuple[str, Effect]] = []
        self._landing = 0

    def seen(self) -> Sequence[tuple[Seen, str]]:
        """Every record of a name that the zone did not begin with; ours when the mark stands at or beside it."""
        return [
            (Seen(each.rdtype.name.lower(), f"{name} {each.rdtype.name}", name, self._is_ours(each)), str(each))
            for each in self.zone.added()
            for name in [each.name.to_text(omit_final_dot=True)]
        ]

    def _is_ours(self, rrset: dns.rrset.RRset) -> bool:
        at = rrset.name if rrset.name.labels[0] == MARK_LABEL.labels[0] else MARK_LABEL.concatenate(rrset.name)
        return any("managedBy=tenant-pipelines" in text for text in self.zone.texts(at))

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        """Answer on the loopback port, UDP and TCP alike, until left; port 0 takes any free one."""
        tcp = await asyncio.start_server(self._serve_tcp, LOOPBACK, port)
        taken: int = tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), (LOOPBACK, taken))
        try:
            yield taken
        finally:
            udp.close()
            tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = await self.respond(await reader.readexactly(length))
                if answer is Silence.RESET:
                    _abort(writer)
                    return
                if answer is Silence.HANG:
                    async with asyncio.timeout(LONGEST_HANG):
                        await reader.read()
                    return
                writer.write(answer.to_wire(prepend_length=True))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            return
        finally:
            writer.close()

    async def respond(self, wire: bytes) -> Message | Silence:
        """The answer to one message, or what happens instead of one."""
        message = self._verified(wire)
        if isinstance(message, Rejected):
            return message.answer
        operation = dns.opcode.to_text(message.opcode())
        text = " ".join(str(rrset) for section in message.sections for rrset in section)
        fault = self.switch.take(operation, text)

        def carry_out() -> Message:
            return self._carry_out(message)

        if fault is None:
            answer = carry_out()
            self._notice(operation)
            return answer
        return await self._gone_wrong(fault.mode, operation, message, carry_out)

    async def _gone_wrong(  # noqa: PLR0911 - one way to go wrong each
        self, mode: Mode, operation: str, message: Message, effect: Effect
    ) -> Message | Silence:
        match mode:
            case Mode.REFUSE:
                return Silence.RESET
            case Mode.TIMEOUT_BEFORE:
                return Silence.HANG
            case Mode.TIMEOUT_AFTER:
                effect()
                return Silence.HANG
            case Mode.LATE_EFFECT:
                self._late.append((operation, effect))
                return Silence.HANG
            case Mode.RATE_LIMITED:
                return bare(message, Rcode.REFUSED)
            case Mode.SERVER_ERROR:
                return signed(message, Rcode.SERVFAIL)
            case Mode.UNAUTHORIZED:
                return tsig_error(message, Rcode.BADKEY)
            case Mode.SLOW:
                await asyncio.sleep(2)
                return effect()
            case Mode.HALF_DONE:
                effect()
                return signed(message, Rcode.SERVFAIL)

    @property
    def holding(self) -> bool:
        """Whether any effect is still to come."""
        return bool(self._late) or self._landing > 0

    def _notice(self, operation: str) -> None:
        """A message went through: what is held of another operation lands a moment later."""
        for held in [each for each in self._late if each[0] != operation]:
            self._late.remove(held)
            self._landing += 1
            asyncio.get_running_loop().call_later(LATE_AFTER_A_LOOK, self._arrive, held[1])

    def _arrive(self, effect: Effect) -> None:
        effect()
        self._landing -= 1

    def _verified(self, wire: bytes) -> Message | Rejected:
        try:
            return dns.message.from_wire(wire, keyring={self._key.name: self._key})
        except (dns.message.UnknownTSIGKey, dns.tsig.BadKey, dns.tsig.BadAlgorithm):
            return rejected(wire, Rcode.BADKEY)
        except dns.tsig.BadSignature:
            return rejected(wire, Rcode.BADSIG)
        except dns.tsig.BadTime:
            return rejected(wire, Rcode.BADTIME)
        except dns.exception.DNSException:
            return rejected(wire, Rcode.FORMERR)

    def _carry_out(self, message: Message) -> Message:
        match message:
            case UpdateMessage() if message.zone and message.zone[0].name != self.zone.origin:
                return bare(message, Rcode.NOTAUTH)  # as Knot: keys belong to zones, so there is none to sign with
            case UpdateMessage():
                return signed(message, self._update(message))
            case _ if message.opcode() != Opcode.QUERY:
                return signed(message, Rcode.NOTIMP)
            case _ if len(message.question) != 1:
                return signed(message, Rcode.FORMERR)
            case _:
                return self._query(message)

    def _query(self, message: Message) -> Message:
        question = message.question[0]
        if not question.name.is_subdomain(self.zone.origin):
            return elsewhere(message)
        if question.rdtype in {RdataType.AXFR, RdataType.IXFR}:
            return signed(message, Rcode.REFUSED)
        answer = signed(message, Rcode.NOERROR)
        answer.flags |= dns.flags.AA
        self.zone.answer(question, answer)
        return answer

    def _update(self, message: UpdateMessage) -> Rcode:
        if len(message.zone) != 1:
            return Rcode.FORMERR
        return self.zone.update(message) if message.had_tsig else Rcode.REFUSED


class _Datagrams(asyncio.DatagramProtocol):
    """UDP: the same answers, cut off where they are too long."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # by duck typing only, in Python 3.11

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.ensure_future(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._server.respond(data)
        if self._transport is not None and isinstance(answer, Message):
            self._transport.sendto(fitting(answer), addr)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a server that refuses does."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def running(server: NameServer, port: int = 0) -> Iterator[int]:
    """Answer from a thread of this process and say on which port; for tests and trials."""
    begun: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        end = asyncio.Event()
        async with server.listening(port) as taken:
            begun.append((taken, asyncio.get_running_loop(), end))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not ready.wait(timeout=20):
        raise TimeoutError("the name server did not start to listen within 20 s")
    taken, loop, end = begun[0]
    try:
        yield taken
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(timeout=20)
