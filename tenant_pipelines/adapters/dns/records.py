"""A CNAME for each of a tenant's names, and beside it the TXT record that says whose it is.

The mark stands at `_tenant-pipelines.<name>`, since a name with a CNAME can have no other record. Both are written and
removed in one message under conditions that the server checks itself, so that nobody can come in between.
Source: RFC 2136, sections 2.4 (prerequisites) and 3.4.2.2 (what an added CNAME meets).
"""

from collections.abc import Iterable, Sequence
from enum import Enum, auto

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.update
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.update import UpdateMessage

from tenant_pipelines.adapters.dns.exchange import SYSTEM, Exchange
from tenant_pipelines.adapters.dns.zone import DnsZone
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import InvalidConfiguration, LockHeld, ResourceAlreadyExists, Validation
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Removal,
    Removed,
)

MARK_LABEL = "_tenant-pipelines"


class _Owner(Enum):
    """Whose a name is, going by its mark."""

    WE = auto()
    SOMEBODY = auto()
    NOBODY = auto()


class Rfc2136:
    """The names of one zone on any server that takes signed dynamic updates (BIND, Knot, PowerDNS, ...)."""

    def __init__(self, zone: DnsZone) -> None:
        self._zone = zone
        self._origin = dns.name.from_text(zone.zone)
        self._exchange = Exchange(zone)

    def ensure_records(self, *, domains: Sequence[str], target: str, mark: Mark, call: Call) -> Sequence[Ensured]:
        """A CNAME to `target` for each domain below the zone; a domain outside of it is passed over.

        Raises: Validation for a domain that can have no CNAME; ResourceAlreadyExists for one that is in use.
        """
        names = [name for name in map(_name, domains) if name.is_subdomain(self._origin)]
        for name in names:
            if name == self._origin:
                raise Validation(SYSTEM, f"name {_text(name)} is the zone itself, where no CNAME can stand")
        return [self._ensure(name, self._cname(target), mark, call) for name in _each_once(names)]

    def remove_records(self, *, domains: Sequence[str], mark: Mark, call: Call) -> Sequence[Removal]:
        """Remove CNAME and mark of each domain below the zone, wherever the CNAME points by now."""
        return [self._remove(name, mark, call) for name in self._ours_to_look_at(domains)]

    def find(self, *, domains: Sequence[str], mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The domains that carry the mark, with or without their CNAME."""
        return [_ref(name) for name in self._ours_to_look_at(domains) if self._owner(name, mark, call) is _Owner.WE]

    def _ours_to_look_at(self, domains: Sequence[str]) -> Iterable[Name]:
        """Names below the zone; a name that DNS does not allow was never written, so there is nothing to look for."""
        names: list[Name] = []
        for domain in domains:
            try:
                names.append(_name(domain))
            except Validation:
                continue
        return _each_once([name for name in names if name.is_subdomain(self._origin) and name != self._origin])

    def _ensure(self, name: Name, target: Rdata, mark: Mark, call: Call) -> Ensured:
        facts = {"target": target.to_text().removesuffix("."), "ttl": str(self._zone.ttl)}
        owner = self._owner(name, mark, call)
        if owner is _Owner.NOBODY:
            if self._create(name, target, mark, call):
                return Created(_ref(name), facts)
            owner = self._owner(name, mark, call)  # somebody was faster, or a lost message of ours came after all
        if owner is not _Owner.WE:
            raise _taken(name)
        self._point(name, target, mark, call)
        return Adopted(_ref(name), facts)

    def _create(self, name: Name, target: Rdata, mark: Mark, call: Call) -> bool:
        update = self._update()
        update.absent(name)
        update.absent(_beside(name))
        update.add(name, self._zone.ttl, target)
        update.add(_beside(name), self._zone.ttl, _txt(mark))
        return self._exchange.update(update, call) is Rcode.NOERROR

    def _point(self, name: Name, target: Rdata, mark: Mark, call: Call) -> None:
        """Let the name, which is ours, point to the target.

        A server ignores a CNAME added where other records are and says NOERROR all the same, therefore the two
        conditions: either the name has a CNAME to replace, or it has nothing at all.
        """
        if target in self._look(name, RdataType.CNAME, call):
            return
        replacing = self._update()
        replacing.present(_beside(name), _txt(mark))
        replacing.present(name, RdataType.CNAME)
        replacing.replace(name, self._zone.ttl, target)
        if self._exchange.update(replacing, call) is Rcode.NOERROR:
            return
        adding = self._update()
        adding.present(_beside(name), _txt(mark))
        adding.absent(name)
        adding.add(name, self._zone.ttl, target)
        match self._exchange.update(adding, call):
            case Rcode.NOERROR:
                return
            case Rcode.YXDOMAIN:
                raise _taken(name)
            case _:
                raise _changing(name)

    def _remove(self, name: Name, mark: Mark, call: Call) -> Removal:
        match self._owner(name, mark, call):
            case _Owner.SOMEBODY:
                return NotOurs(_ref(name))
            case _Owner.NOBODY:
                return NotOurs(_ref(name)) if self._look(name, RdataType.ANY, call) else NothingToRemove(_ref(name))
            case _Owner.WE:
                update = self._update()
                update.present(_beside(name), _txt(mark))
                update.delete(name, RdataType.CNAME)
                update.delete(_beside(name), RdataType.TXT)
                if self._exchange.update(update, call) is not Rcode.NOERROR:
                    raise _changing(name)
                return Removed(_ref(name))

    def _owner(self, name: Name, mark: Mark, call: Call) -> _Owner:
        marks = self._look(_beside(name), RdataType.TXT, call)
        if not marks:
            return _Owner.NOBODY
        return _Owner.WE if marks == [_txt(mark)] else _Owner.SOMEBODY

    def _look(self, name: Name, kind: RdataType, call: Call) -> list[Rdata]:
        """The records of the name itself, not of what a CNAME leads to."""
        answer = self._exchange.query(dns.message.make_query(name, kind), call)
        wanted = [each for each in answer.answer if each.name == name and kind in {each.rdtype, RdataType.ANY}]
        return [record for each in wanted for record in each]

    def _update(self) -> UpdateMessage:
        return UpdateMessage(self._origin)

    def _cname(self, target: str) -> Rdata:
        try:
            return dns.rdata.from_text(RdataClass.IN, RdataType.CNAME, dns.name.from_text(target).to_text())
        except (dns.exception.DNSException, UnicodeError) as error:
            raise InvalidConfiguration(SYSTEM, f"target {target[:80]!r} is not a name") from error


def _name(domain: str) -> Name:
    try:
        name = dns.name.from_text(domain)
        _beside(name)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise Validation(SYSTEM, f"does not allow the name {domain[:80]!r}") from error
    return name


def _each_once(names: Iterable[Name]) -> Iterable[Name]:
    return dict.fromkeys(names)


def _beside(name: Name) -> Name:
    return dns.name.from_text(MARK_LABEL, name)


def _txt(mark: Mark) -> Rdata:
    text = f'"tenantId={mark.tenant_id};managedBy={mark.MANAGED_BY}"'
    return dns.rdata.from_text(RdataClass.IN, RdataType.TXT, text)


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True)


def _ref(name: Name) -> ObjectRef:
    return ObjectRef("dns", "record", _text(name), _text(name))


def _taken(name: Name) -> ResourceAlreadyExists:
    way_out = f"remove the records of {_text(name)} if nobody needs them, or take the domain from the tenant"
    return ResourceAlreadyExists(SYSTEM, f"name {_text(name)} is in use and is not this tenant's", way_out=way_out)


def _changing(name: Name) -> LockHeld:
    return LockHeld(SYSTEM, f"name {_text(name)} was changed by somebody else at this moment")
