"""How the name server words its answers, signed and unsigned.

Source: RFC 1035 section 4.1.1 and 4.2.1, RFC 8945 section 5.3, RFC 8914 section 4.21.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rrset
from dns.edns import EDECode, EDEOption
from dns.message import Message
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TSIG import TSIG

_PLAIN_UDP = 512
"""Bytes of an answer over UDP to a client that did not offer more."""

_new_tsig: Callable[..., TSIG] = TSIG  # its constructor has no types


class Silence(Enum):
    """What happens instead of an answer."""

    RESET = auto()
    """The connection is closed at once."""
    HANG = auto()
    """Nothing, until the client gives up."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that is not looked at any further, because it cannot be read or its signature does not hold."""

    answer: Message | Silence


def rejected(wire: bytes, code: Rcode) -> Rejected:
    """The rejection of what was received; `code` is the TSIG error where it was signed, else the answer's code."""
    try:
        unverified = dns.message.from_wire(wire, keyring=False)
    except dns.exception.DNSException:
        return Rejected(_unreadable(wire))
    return Rejected(tsig_error(unverified, code) if unverified.had_tsig else bare(unverified, code))


def _unreadable(wire: bytes) -> Message | Silence:
    if len(wire) < 12:
        return Silence.RESET
    number, flags = struct.unpack("!HH", wire[:4])
    answer = Message(id=number)
    answer.flags = dns.flags.Flag(dns.flags.QR | (flags & 0x7800))
    answer.set_rcode(Rcode.FORMERR)
    return answer


def signed(message: Message, code: Rcode) -> Message:
    """An answer, signed when the message was."""
    answer = dns.message.make_response(message)
    answer.set_rcode(code)
    return answer


def bare(message: Message, code: Rcode) -> Message:
    """An answer without a signature."""
    answer = type(message)(id=message.id)
    answer.flags = dns.flags.Flag(dns.flags.QR | dns.opcode.to_flags(message.opcode()))
    answer.sections[0] = list(message.sections[0])
    answer.set_rcode(code)
    return answer


def elsewhere(message: Message) -> Message:
    """The answer to a question about a zone that is not here: not even its signature is looked at, as in Knot."""
    answer = bare(message, Rcode.REFUSED)
    if message.edns >= 0:
        answer.use_edns(0, options=[EDEOption(EDECode.NOT_AUTHORITATIVE)])
    return answer


def tsig_error(message: Message, error: Rcode) -> Message:
    """NOTAUTH with an unsigned TSIG record that names the error."""
    answer = bare(message, Rcode.NOTAUTH)
    if message.keyname is not None:
        algorithm, now, fudge, nothing = message.keyalgorithm, int(time.time()), 300, b""
        record = _new_tsig(RdataClass.ANY, RdataType.TSIG, algorithm, now, fudge, nothing, message.id, error, nothing)
        answer.additional.append(dns.rrset.from_rdata(message.keyname, 0, record))
    return answer


def fitting(answer: Message) -> bytes:
    """The answer for UDP: cut off, and marked so, where it is longer than the client takes."""
    try:
        return answer.to_wire(max_size=max(_PLAIN_UDP, answer.request_payload))
    except dns.exception.TooBig:
        for section in (answer.answer, answer.authority, answer.additional):
            section.clear()
        answer.flags |= dns.flags.TC
        return answer.to_wire()
