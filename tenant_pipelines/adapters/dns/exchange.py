"""One signed message to the zone's server and its answer, with every way to fail translated once.

Source: RFC 1035 (messages over TCP), RFC 2136 (response codes), RFC 8945 (TSIG and its errors),
RFC 8914 (why a server refuses).
"""

import binascii
import socket
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dns.exception
import dns.message
import dns.query
import dns.tsig
from dns.edns import EDECode
from dns.message import Message
from dns.rcode import Rcode

from tenant_pipelines.adapters import network
from tenant_pipelines.adapters.dns.zone import DnsZone
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    Outage,
    PermissionDenied,
    Validation,
)

SYSTEM = "DNS"
DEFAULT_PORT = 53

_RESULTS = frozenset({Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.YXDOMAIN, Rcode.YXRRSET, Rcode.NXRRSET})
"""Answers that say how things are; every other code is a failure, and never "nothing there"."""

_UNCHECKED: Any = False
"""Reads an answer without looking at its signature."""


class Exchange:
    """The way to the server. Queries are signed too: a key that is no longer right shows before anything is written."""

    def __init__(self, zone: DnsZone) -> None:
        parts = urlsplit(zone.url)
        self._zone = zone
        self._host = parts.hostname or zone.url
        self._port = parts.port or DEFAULT_PORT

    def query(self, message: Message, call: Call) -> Message:
        """Ask something. Answers only messages that say how things are."""
        message.use_edns(0)  # lets the server say why it refuses (RFC 8914)
        return self._exchange(message, call.seconds_left(), writing=False)

    def update(self, message: Message, call: Call) -> Rcode:
        """Change something, or learn which condition of the message did not hold."""
        return self._exchange(message, call.before_write(), writing=True).rcode()

    def _exchange(self, message: Message, seconds: float, *, writing: bool) -> Message:
        message.use_tsig(self._key())
        ends_at = time.time() + seconds
        try:
            with self._connected(seconds) as connection, self._translated():
                dns.query.send_tcp(connection, message, ends_at)
                answer, _ = dns.query.receive_tcp(connection, ends_at, keyring=_UNCHECKED)
                return self._verified(message, answer)
        except Failure as failure:
            failure.lost = failure.lost and writing
            raise

    def _key(self) -> dns.tsig.Key:
        try:
            return dns.tsig.Key(self._zone.key_name, self._zone.key_secret, self._zone.key_algorithm)
        except (binascii.Error, dns.exception.DNSException, UnicodeError):
            # The cause is left out on purpose: it would take the secret along in its traceback.
            raise InvalidConfiguration(SYSTEM, f"key {self._zone.key_name} is not a name and base64") from None

    @contextmanager
    def _connected(self, seconds: float) -> Iterator[socket.socket]:
        try:
            connection = socket.create_connection((self._host, self._port), seconds)
        except TimeoutError as error:
            raise Outage.timed_out(SYSTEM, self._host, self._port, sent=False) from error
        except OSError as error:
            raise self._outage(error) from error
        with connection:
            connection.setblocking(False)
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except dns.exception.Timeout as error:
            raise Outage.timed_out(SYSTEM, self._host, self._port) from error
        except EOFError as error:
            raise Outage.dropped(SYSTEM, self._host, self._port) from error
        except OSError as error:
            raise self._outage(error) from error
        except (dns.tsig.PeerBadTime, dns.tsig.BadTime) as error:
            what = "and we do not have the same time, so that no signature holds (BADTIME)"
            raise InvalidConfiguration(SYSTEM, what, way_out="timedatectl status, on both machines") from error
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadAlgorithm) as error:
            raise self._unknown_key() from error
        except dns.message.UnknownTSIGKey as error:
            raise self._unknown_key() from error
        except dns.exception.DNSException as error:
            raise Answered(SYSTEM, "gave an answer that cannot be read", lost=True) from error

    def _outage(self, error: OSError) -> Outage:
        found = network.outage(SYSTEM, f"dns://{self._host}:{self._port}", error)
        return found or Outage(SYSTEM, f"cannot be reached at {self._host}:{self._port}", lost=True)

    def _unknown_key(self) -> InvalidCredentials:
        return InvalidCredentials(SYSTEM, f"does not accept key {self._zone.key_name} (NOTAUTH): 401 Unauthorized")

    def _verified(self, message: Message, answer: Message) -> Message:
        """The answer, if its signature is right and its code is one of the results."""
        if not message.is_response(answer):
            raise Answered(SYSTEM, "answered something that was not asked", lost=True)
        if not answer.had_tsig:
            raise self._unsigned(answer.rcode(), {each.code for each in answer.extended_errors()})
        signed = dns.message.from_wire(answer.wire or b"", keyring=message.keyring, request_mac=message.mac)
        if signed.rcode() not in _RESULTS:
            raise self._failed(signed.rcode())
        return signed

    def _unsigned(self, code: Rcode, reasons: Set[EDECode]) -> Failure:
        """A server that has verified a message signs its answer: one that did not never looked at the message."""
        match code:
            case Rcode.REFUSED if EDECode.NOT_AUTHORITATIVE in reasons:
                return InvalidConfiguration(SYSTEM, f"zone {self._zone.zone} is not on this server (REFUSED)")
            case Rcode.REFUSED if EDECode.PROHIBITED in reasons:
                return PermissionDenied(SYSTEM, "does not let this machine ask (REFUSED)")
            case Rcode.REFUSED:
                way_out = f"if it stays so: let this machine and key {self._zone.key_name} update the zone"
                return Outage(SYSTEM, "refuses us unseen, as when it is rate limiting (REFUSED)", way_out=way_out)
            case Rcode.NOTAUTH:
                return self._unknown_key()
            case _ if code in _RESULTS:
                return InvalidConfiguration(SYSTEM, "gave an answer without a signature: it cannot be relied on")
            case _:
                return self._failed(code)

    def _failed(self, code: Rcode) -> Failure:
        zone = self._zone.zone
        match code:
            case Rcode.SERVFAIL:
                return Outage(SYSTEM, "is not able to answer (SERVFAIL)", lost=True)
            case Rcode.REFUSED:
                return PermissionDenied(SYSTEM, f"does not let key {self._zone.key_name} do this (REFUSED)")
            case Rcode.NOTAUTH | Rcode.NOTZONE | Rcode.NOTIMP:
                return InvalidConfiguration(SYSTEM, f"does not take updates of zone {zone} ({code.name})")
            case Rcode.FORMERR:
                return Validation(SYSTEM, "finds the message wrong (FORMERR)")
            case _:
                return Answered(SYSTEM, f"answered {code.name}")
