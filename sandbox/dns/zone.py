"""The zone: what it answers, and how an update changes it.

Source: RFC 1034 section 4.3.2 (answering), RFC 2308 (negative answers), RFC 2136 section 3 (carrying out an update).
"""

from collections.abc import Iterator

import dns.name
import dns.rrset
import dns.zone
from dns.message import Message
from dns.name import Name
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType
from dns.rrset import RRset
from dns.transaction import Transaction
from dns.update import UpdateMessage

from sandbox.store import Store

FIXED = """
@ 300 SOA ns hostmaster 1 3600 600 86400 60
@ 300 NS ns
@ 300 A 127.0.0.1
@ 300 AAAA ::1
ns 300 A 127.0.0.1
ingress 300 A 127.0.0.1
"""
"""What a zone begins with; `ingress` is what tenants' names point to."""

_KEPT_AT_THE_TOP = frozenset({RdataType.SOA, RdataType.NS})
_LONGEST_CHAIN = 8


class Zone:
    """One zone, kept in the store as the text of a zone file, so that an update is written in one piece.

    Args:
        fixed: records that it begins with, as a zone file.
    """

    def __init__(self, store: Store, name: str, fixed: str = FIXED) -> None:
        self._store = store
        self.origin = dns.name.from_text(name)
        begun = dns.zone.from_text(fixed, self.origin, relativize=False)
        self._fixed = set(begun.nodes)
        kept = store.get("zone", self.origin.to_text())
        self._zone = dns.zone.from_text(kept["text"], self.origin, relativize=False) if kept else begun

    def added(self) -> Iterator[RRset]:
        """Every record set of the names that it did not begin with."""
        for name, node in self._zone.nodes.items():
            if name not in self._fixed:
                yield from (_rrset(name, rdataset) for rdataset in node)

    def texts(self, name: Name) -> list[str]:
        """The contents of the name's TXT records."""
        rdataset = self._zone.get_rdataset(name, RdataType.TXT)
        return [b"".join(record.strings).decode("utf-8", "replace") for record in rdataset or ()]

    def answer(self, question: RRset, reply: Message) -> None:
        """Fill in the answer: the records, the chain of CNAMEs as far as it stays in the zone, or the SOA."""
        name = question.name
        for _ in range(_LONGEST_CHAIN):
            found = self._matching(name, question.rdtype)
            reply.answer += [_rrset(name, each) for each in found]
            aliases = [each for each in found if each.rdtype == RdataType.CNAME]
            if not aliases or question.rdtype in {RdataType.CNAME, RdataType.ANY}:
                break
            name = aliases[0][0].target
            if not name.is_subdomain(self.origin):
                return
        if not self._matching(name, question.rdtype):
            soa = self._zone.find_rdataset(self.origin, RdataType.SOA)
            reply.authority.append(_rrset(self.origin, soa))
            reply.set_rcode(Rcode.NOERROR if self._exists(name) else Rcode.NXDOMAIN)

    def _matching(self, name: Name, kind: RdataType) -> list[Rdataset]:
        node = self._zone.get_node(name)
        kinds = {kind, RdataType.CNAME}
        return [each for each in node or () if kind == RdataType.ANY or each.rdtype in kinds]

    def _exists(self, name: Name) -> bool:
        """A name with nothing but names below it exists as well (RFC 4592, empty non-terminals)."""
        return any(each.is_subdomain(name) for each in self._zone.nodes)

    def update(self, message: UpdateMessage) -> Rcode:
        """Carry out the whole update, or nothing of it."""
        everything = [*message.prerequisite, *message.update]
        if any(not each.name.is_subdomain(self.origin) for each in everything):
            return Rcode.NOTZONE
        with self._zone.writer() as transaction:
            code = _unmet(message.prerequisite, transaction)
            if code is not Rcode.NOERROR:
                transaction.rollback()
                return code
            for each in message.update:
                self._change(each, transaction)
            if transaction.changed():
                transaction.update_serial(name=self.origin)
        self._store.put("zone", self.origin.to_text(), {"text": self._zone.to_text(relativize=False)})
        return Rcode.NOERROR

    def _change(self, change: RRset, transaction: Transaction) -> None:
        name, kind = change.name, change.rdtype
        kept = name == self.origin and kind in _KEPT_AT_THE_TOP
        match change.deleting:
            case RdataClass.ANY if kind == RdataType.ANY:
                for each in list(_sets(name, transaction)):
                    if name != self.origin or each.rdtype not in _KEPT_AT_THE_TOP:
                        transaction.delete(name, each.rdtype)
            case RdataClass.ANY | RdataClass.NONE if kept:
                return
            case RdataClass.ANY:
                transaction.delete(name, kind)
            case RdataClass.NONE:
                transaction.delete(name, change)
            case _ if kind != RdataType.SOA and _may_stand_beside(change, list(_sets(name, transaction))):
                if kind == RdataType.CNAME:
                    transaction.replace(name, change)
                else:
                    transaction.add(name, change)


def _may_stand_beside(added: RRset, there: list[Rdataset]) -> bool:
    """What would put a CNAME beside other records is passed over without an error (RFC 2136, 3.4.2.2)."""
    others = {each.rdtype for each in there}
    return others <= {RdataType.CNAME} if added.rdtype == RdataType.CNAME else RdataType.CNAME not in others


def _unmet(conditions: list[RRset], transaction: Transaction) -> Rcode:
    """The code of the first condition that does not hold (RFC 2136, 3.2)."""
    wanted: dict[tuple[Name, RdataType], set[str]] = {}
    for each in conditions:
        name, kind = each.name, each.rdtype
        there = [found for found in _sets(name, transaction) if kind in {found.rdtype, RdataType.ANY}]
        match each.deleting:
            case RdataClass.ANY if not there:
                return Rcode.NXDOMAIN if kind == RdataType.ANY else Rcode.NXRRSET
            case RdataClass.NONE if there:
                return Rcode.YXDOMAIN if kind == RdataType.ANY else Rcode.YXRRSET
            case None:
                wanted.setdefault((name, kind), set()).update(record.to_text() for record in each)
    for (name, kind), records in wanted.items():
        found = transaction.get(name, kind)
        if {record.to_text() for record in found or ()} != records:
            return Rcode.NXRRSET
    return Rcode.NOERROR


def _sets(name: Name, transaction: Transaction) -> Iterator[Rdataset]:
    yield from transaction.get_node(name) or ()


def _rrset(name: Name, rdataset: Rdataset) -> RRset:
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))
