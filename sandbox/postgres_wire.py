"""PostgreSQL's messages as bytes: where each one ends, and which statements they carry out.

Source: PostgreSQL documentation, Frontend/Backend Protocol, Message Formats (version 3.0 and 3.2).
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102

LONGEST_STARTUP = 10_000
"""Bytes of the first message, as the server limits it."""

_HEADER = struct.Struct("!cI")
_WORD = re.compile(r"\A(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([A-Za-z]+)", re.DOTALL)
_FUNCTION = re.compile(r"\b([A-Za-z_][A-Za-z0-9_]*)\s*\(")
_IN_WITH = re.compile(r"\b(insert|update|delete|merge)\b", re.IGNORECASE)


def error(severity: str, sqlstate: str, message: str) -> bytes:
    """An ErrorResponse."""
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message)]
    body = b"".join(f"{name}{value}".encode() + b"\0" for name, value in fields) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def startup_values(packet: bytes) -> dict[str, str]:
    """The parameters of a StartupMessage: user, database, application_name."""
    parts = packet[8:].rstrip(b"\0").split(b"\0")
    return {
        k.decode("utf-8", "replace"): v.decode("utf-8", "replace")
        for k, v in zip(parts[::2], parts[1::2], strict=False)
    }


class Frames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete by now, each with its header."""
        self._rest += data
        start = 0
        end = len(self._rest)
        while end - start >= 5:
            size = 1 + int.from_bytes(self._rest[start + 1 : start + 5])
            if start + size > end:
                break
            yield bytes(self._rest[start : start + size])
            start += size
        del self._rest[:start]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a client asks for.

    Args:
        sql: its text, several statements included.
        values: its parameters, as far as they are text.
    """

    sql: str
    values: Sequence[str] = ()

    @property
    def operations(self) -> list[str]:
        """Names for the switch: first words in capitals, then the functions it calls."""
        names: dict[str, None] = {}
        for part in self.sql.split(";"):
            if (word := _WORD.match(part)) is not None:
                names[word.group(1).upper()] = None
                if word.group(1).upper() == "WITH":
                    names |= {found.upper(): None for found in _IN_WITH.findall(part)}
        names |= {name.lower(): None for name in _FUNCTION.findall(self.sql)}
        return list(names)

    @property
    def text(self) -> str:
        """Everything it says, in which a tenant's key is looked for."""
        return " ".join((self.sql, *self.values))


@dataclass(slots=True)
class Session:
    """What must be remembered of a connection to know what a Bind means."""

    prepared: dict[bytes, str] = field(default_factory=dict)

    def note(self, message: bytes) -> None:
        """Remember a Parse, forget on Close."""
        kind = message[:1]
        if kind == b"P":
            name, sql, *_ = message[5:].split(b"\0", 2)
            self.prepared[name] = sql.decode("utf-8", "replace")
        elif kind == b"C" and message[5:6] == b"S":
            self.prepared.pop(message[6:].rstrip(b"\0"), None)

    def statements(self, messages: Sequence[bytes]) -> list[Statement]:
        """The statements that these messages carry out; a Parse alone carries out nothing."""
        found = []
        for message in messages:
            if message[:1] == b"Q":
                found.append(Statement(message[5:].rstrip(b"\0").decode("utf-8", "replace")))
            elif message[:1] == b"B":
                _, name, rest = message[5:].split(b"\0", 2)
                found.append(Statement(self.prepared.get(name, ""), _values(rest)))
        return found


def _values(rest: bytes) -> list[str]:
    """The parameters of a Bind, from behind its two names on."""
    formats = int.from_bytes(rest[:2])
    at = 2 + 2 * formats
    count = int.from_bytes(rest[at : at + 2])
    at += 2
    values = []
    for _ in range(count):
        size = int.from_bytes(rest[at : at + 4], signed=True)
        at += 4
        if size > 0:
            values.append(rest[at : at + size].decode("utf-8", "replace"))
            at += size
    return values
