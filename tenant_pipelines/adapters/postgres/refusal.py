"""Why PostgreSQL refused a session, as a SQLSTATE.

libpq reports a failed log-in as a text in the server's language and keeps the code to itself. Whether to wait (too
many connections, still starting) or to give up (wrong password) hangs on that code, so we begin a session of our own
and read it from the server's answer. Only a SCRAM proof is ever sent, never the password.

Source: PostgreSQL manual, Frontend/Backend Protocol (Message Flow, SASL Authentication, Error Fields); RFC 5802, 7677.
"""

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

INVALID_PASSWORD = "28P01"  # noqa: S105
_PROTOCOL_3 = 196608
_SSL_REQUEST = 80877103
_LONGEST_MESSAGE = 1 << 20


class _Asks(IntEnum):
    """What the server wants in an authentication request."""

    NOTHING_MORE = 0
    SASL = 10
    SASL_CONTINUE = 11
    SASL_FINAL = 12


class Unclear(Exception):
    """The server answered in a way we do not follow (another authentication method, a broken TLS session)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a session is wanted, and as whom."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    sslmode: str = "prefer"
    sslrootcert: str | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, object]) -> "Target":
        """From libpq's connection parameters; of several hosts the first."""

        def first(name: str, otherwise: str) -> str:
            return str(parameters.get(name) or otherwise).split(",")[0]

        user = first("user", "postgres")
        return cls(
            host=first("host", "localhost"),
            port=int(first("port", "5432")),
            user=user,
            database=first("dbname", user),
            password=str(parameters.get("password") or ""),
            sslmode=first("sslmode", "prefer"),
            sslrootcert=str(parameters["sslrootcert"]) if parameters.get("sslrootcert") else None,
        )


def sqlstate(target: Target, seconds: float) -> str | None:
    """The code with which the server refuses the session, or None when it takes it.

    Args: seconds: the longest wait for any single answer.
    Raises: OSError as the network has it (ConnectionRefusedError, TimeoutError, socket.gaierror); Unclear.
    """
    try:
        return _ask(target, seconds)
    except (KeyError, ValueError, struct.error) as error:
        raise Unclear("in a way that is not PostgreSQL's") from error


def _ask(target: Target, seconds: float) -> str | None:
    with (
        socket.create_connection((target.host, target.port), timeout=seconds) as plain,
        _secured(plain, target) as wire,
    ):
        words = _words("user", target.user, "database", target.database, "")
        _send(wire, b"", struct.pack("!i", _PROTOCOL_3) + words)
        proof = _Proof(target.password)
        while True:
            match _receive(wire):
                case b"E", body:
                    return _code(body)
                case b"Z", _:
                    _send(wire, b"X", b"")
                    return None
                case b"R", body if not target.password and _method(body) == _Asks.SASL:
                    return INVALID_PASSWORD
                case b"R", body:
                    answer = _answer(proof, body)
                    if answer:
                        _send(wire, b"p", answer)
                case _:
                    pass


class _Proof:
    """The client's side of one SCRAM-SHA-256 exchange, without channel binding."""

    def __init__(self, password: str) -> None:
        self._password = unicodedata.normalize("NFKC", password).encode()
        self._nonce = secrets.token_urlsafe(18)

    @property
    def begin(self) -> bytes:
        """The first message, without its header."""
        return f"n=,r={self._nonce}".encode()

    def finish(self, challenge: bytes) -> bytes:
        """The last message, for the server's challenge `r=nonce,s=salt,i=iterations`."""
        parts = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salt, rounds = base64.b64decode(parts["s"]), int(parts["i"])
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={parts['r']}".encode()
        signed = b",".join((self.begin, challenge, without_proof))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + base64.b64encode(proof)


def _answer(proof: _Proof, body: bytes) -> bytes | None:
    """What to send after an authentication request, if anything."""
    match _method(body):
        case _Asks.SASL if b"SCRAM-SHA-256\0" in body:
            begin = b"n,," + proof.begin
            return _words("SCRAM-SHA-256") + struct.pack("!i", len(begin)) + begin
        case _Asks.SASL_CONTINUE:
            return proof.finish(body[4:])
        case _Asks.SASL_FINAL | _Asks.NOTHING_MORE:
            return None
        case other:
            raise Unclear(f"by asking for authentication method {other}")


def _method(body: bytes) -> int:
    method: int = struct.unpack("!i", body[:4])[0]
    return method


def _code(body: bytes) -> str:
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    return fields.get(b"C", b"XX000").decode("ascii", "replace")


def _secured(plain: socket.socket, target: Target) -> socket.socket:
    """The socket itself, or a TLS socket around it where libpq would make one and the server wants to."""
    if target.sslmode in {"disable", "allow"}:
        return plain
    _send(plain, b"", struct.pack("!i", _SSL_REQUEST))
    if plain.recv(1) != b"S":
        if target.sslmode != "prefer":
            raise Unclear("as it does not speak TLS")
        return plain
    verified = target.sslmode.startswith("verify-")
    context = ssl.create_default_context(cafile=target.sslrootcert) if verified else ssl.create_default_context()
    context.check_hostname = target.sslmode == "verify-full"
    if not verified:
        context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(plain, server_hostname=target.host)
    except ssl.SSLError as error:
        raise Unclear("as no TLS session could be made") from error


def _words(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)


def _send(wire: socket.socket, kind: bytes, body: bytes) -> None:
    wire.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def _receive(wire: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(wire, 5)
    length: int = struct.unpack("!i", head[1:])[0]
    if not 4 <= length <= _LONGEST_MESSAGE:
        raise Unclear("in a way that is not PostgreSQL's")
    return head[:1], _exactly(wire, length - 4)


def _exactly(wire: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = wire.recv(length - len(received))
        if not chunk:
            raise ConnectionResetError("closed without an answer")
        received += chunk
    return received
