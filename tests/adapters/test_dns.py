"""The contract of the DNS adapter, against the stand-in or any server that takes signed updates.

For a real one set TENANT_PIPELINES_TEST_DNS_URL (dns://127.0.0.1:5353), _ZONE, _KEY_NAME and _KEY_SECRET; tests that
need the fault switch are skipped then.
"""

import base64
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import pytest

from sandbox.dns import NameServer, running
from sandbox.faults import Fault, Mode
from tenant_pipelines.adapters.dns import DnsZone, Rfc2136
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    Outage,
    ResourceAlreadyExists,
    Validation,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, NothingToRemove, NotOurs, Removed
from tenant_pipelines.domain.ports import NameService
from tests.conftest import Fence, FenceLowered

PREFIX = "TENANT_PIPELINES_TEST_DNS_"
SECRET = base64.b64encode(b"a key of the tests, 32 bytes long").decode()
Calls = Callable[..., Call]


@dataclass(frozen=True)
class Server:
    """The server under test, and a second way to it that is not the adapter's."""

    zone: DnsZone
    standin: NameServer | None

    def name(self, label: str) -> str:
        return f"{label}.{self.zone.zone}"

    def write(self, label: str, kind: str, value: str) -> None:
        update = dns.update.UpdateMessage(self.zone.zone)
        update.add(dns.name.from_text(self.name(label)), 300, kind, value)
        self._send(update)

    def clear(self, label: str) -> None:
        update = dns.update.UpdateMessage(self.zone.zone)
        update.delete(dns.name.from_text(self.name(label)))
        update.delete(dns.name.from_text(f"_tenant-pipelines.{self.name(label)}"))
        self._send(update)

    def read(self, label: str, kind: str) -> list[str]:
        answer = self._send(dns.message.make_query(self.name(label), kind))
        return [record.to_text() for rrset in answer.answer for record in rrset if rrset.rdtype.name == kind]

    def break_(self, mode: Mode, operation: str = "UPDATE", times: int = 1, tenant: str | None = None) -> None:
        if self.standin is None:
            pytest.skip("a real server has no fault switch")
        self.standin.switch.replace([Fault(operation, mode, times, tenant)])

    def _send(self, message: dns.message.Message) -> dns.message.Message:
        message.use_tsig(dns.tsig.Key(self.zone.key_name, self.zone.key_secret, self.zone.key_algorithm))
        parts = urlsplit(self.zone.url)
        assert parts.hostname
        answer = dns.query.tcp(message, parts.hostname, timeout=10, port=parts.port or 53)
        assert answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}
        return answer


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    if url := os.environ.get(f"{PREFIX}URL"):
        name, key, secret = (os.environ[f"{PREFIX}{each}"] for each in ("ZONE", "KEY_NAME", "KEY_SECRET"))
        yield Server(DnsZone(url, name, key, secret), None)
        return
    standin = NameServer(zone="tenants.example.test", key_secret=SECRET)
    with running(standin) as port:
        zone = DnsZone(f"dns://127.0.0.1:{port}", "tenants.example.test", "tenant-pipelines", SECRET)
        yield Server(zone, standin)


@pytest.fixture
def server(started: Server) -> Server:
    for label in ("acme", "www.acme", "neighbour"):
        started.clear(label)
    if started.standin is not None:
        started.standin.switch.replace([])
    return started


@pytest.fixture
def names(server: Server) -> NameService:
    return Rfc2136(server.zone)


@pytest.fixture
def target(server: Server) -> str:
    return server.name("ingress")


@pytest.fixture
def acme(server: Server) -> Sequence[str]:
    return [server.name("acme")]


def test_a_name_is_created_with_its_mark_beside_it(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    done = names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert [type(each) for each in done] == [Created]
    assert done[0].ref.name == acme[0]
    assert server.read("acme", "CNAME") == [f"{target}."]
    assert server.read("_tenant-pipelines.acme", "TXT") == [
        f'"tenantId={mark.tenant_id};managedBy=tenant-pipelines"',
    ]


def test_domains_of_other_zones_are_their_owners_business(
    names: NameService, server: Server, target: str, mark: Mark, call: Calls
) -> None:
    domains = ["acme.example.org", server.name("acme"), server.name("acme").upper() + "."]

    done = names.ensure_records(domains=domains, target=target, mark=mark, call=call())

    assert [each.ref.name for each in done] == [server.name("acme")]


def test_it_is_adopted_when_it_is_there_already_and_nothing_is_written(
    names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    asked = fence.asked

    done = names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert [type(each) for each in done] == [Adopted]
    assert fence.asked == asked


def test_an_adopted_name_is_pointed_to_the_new_target(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    names.ensure_records(domains=acme, target=server.name("elsewhere"), mark=mark, call=call())

    done = names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert [type(each) for each in done] == [Adopted]
    assert server.read("acme", "CNAME") == [f"{target}."]


def test_a_cname_that_was_removed_by_hand_is_put_back(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.write("_tenant-pipelines.acme", "TXT", f'"tenantId={mark.tenant_id};managedBy=tenant-pipelines"')

    done = names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert [type(each) for each in done] == [Adopted]
    assert server.read("acme", "CNAME") == [f"{target}."]


@pytest.mark.parametrize(("kind", "value"), [("A", "192.0.2.7"), ("CNAME", "somebody.example.org.")])
def test_a_name_in_use_without_our_mark_is_refused_and_left_alone(
    server: Server,
    names: NameService,
    acme: Sequence[str],
    target: str,
    mark: Mark,
    call: Calls,
    kind: str,
    value: str,
) -> None:
    server.write("acme", kind, value)

    with pytest.raises(ResourceAlreadyExists, match=acme[0]):
        names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    removals = names.remove_records(domains=acme, mark=mark, call=call())

    assert [type(each) for each in removals] == [NotOurs]
    assert server.read("acme", kind) == [value]
    assert server.read("_tenant-pipelines.acme", "TXT") == []


def test_an_address_put_where_our_cname_was_is_not_overlooked(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.write("_tenant-pipelines.acme", "TXT", f'"tenantId={mark.tenant_id};managedBy=tenant-pipelines"')
    server.write("acme", "A", "192.0.2.7")

    with pytest.raises(ResourceAlreadyExists):
        names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert server.read("acme", "A") == ["192.0.2.7"]


def test_another_tenants_name_is_refused_without_naming_its_owner(
    server: Server, names: NameService, target: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    shared = [server.name("acme")]
    names.ensure_records(domains=shared, target=target, mark=neighbour, call=call())

    with pytest.raises(ResourceAlreadyExists) as refused:
        names.ensure_records(domains=shared, target=target, mark=mark, call=call())

    assert neighbour.tenant_id not in str(refused.value)
    assert neighbour.tenant_key not in str(refused.value)
    assert [type(each) for each in names.remove_records(domains=shared, mark=mark, call=call())] == [NotOurs]
    assert names.find(domains=shared, mark=mark, call=call()) == []
    assert len(names.find(domains=shared, mark=neighbour, call=call())) == 1


def test_removal_takes_both_records_and_is_done_when_they_are_gone(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    first = names.remove_records(domains=acme, mark=mark, call=call())
    second = names.remove_records(domains=acme, mark=mark, call=call())

    assert [type(each) for each in (*first, *second)] == [Removed, NothingToRemove]
    assert server.read("acme", "CNAME") == []
    assert server.read("_tenant-pipelines.acme", "TXT") == []


def test_the_neighbours_names_stay(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    theirs = [server.name("neighbour")]
    names.ensure_records(domains=theirs, target=target, mark=neighbour, call=call())

    names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    names.remove_records(domains=acme, mark=mark, call=call())

    assert [ref.name for ref in names.find(domains=theirs, mark=neighbour, call=call())] == theirs
    assert server.read("neighbour", "CNAME") == [f"{target}."]


def test_find_answers_only_what_carries_the_mark(
    server: Server, names: NameService, target: str, mark: Mark, call: Calls
) -> None:
    both = [server.name("acme"), server.name("www.acme")]
    names.ensure_records(domains=both[:1], target=target, mark=mark, call=call())

    assert [ref.name for ref in names.find(domains=both, mark=mark, call=call())] == both[:1]


def test_nothing_is_written_once_the_fence_is_lowered(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    fence.lowered = True
    with pytest.raises(FenceLowered):
        names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    assert server.read("acme", "CNAME") == []

    fence.lowered = False
    names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    fence.lowered = True
    with pytest.raises(FenceLowered):
        names.ensure_records(domains=acme, target=server.name("elsewhere"), mark=mark, call=call())
    with pytest.raises(FenceLowered):
        names.remove_records(domains=acme, mark=mark, call=call())
    assert server.read("acme", "CNAME") == [f"{target}."]


def test_the_fence_is_asked_between_two_writes(server: Server, names: NameService, target: str, mark: Mark) -> None:
    asked: list[None] = []

    def fence() -> None:
        asked.append(None)
        if len(asked) > 1:
            raise FenceLowered

    both = [server.name("acme"), server.name("www.acme")]
    once = Call(key="k", deadline=time.monotonic() + 20, fence=fence)
    with pytest.raises(FenceLowered):
        names.ensure_records(domains=both, target=target, mark=mark, call=once)

    assert server.read("acme", "CNAME") == [f"{target}."]
    assert server.read("www.acme", "CNAME") == []


@pytest.mark.parametrize(
    ("mode", "lost"),
    [
        (Mode.REFUSE, True),
        (Mode.TIMEOUT_BEFORE, True),
        (Mode.TIMEOUT_AFTER, True),
        (Mode.RATE_LIMITED, False),
        (Mode.SERVER_ERROR, True),
        (Mode.HALF_DONE, True),
    ],
)
def test_after_an_outage_the_next_attempt_ends_with_one_name_and_removal_with_none(
    server: Server,
    names: NameService,
    acme: Sequence[str],
    target: str,
    mark: Mark,
    call: Calls,
    mode: Mode,
    lost: bool,
) -> None:
    server.break_(mode)
    with pytest.raises(Outage) as outage:
        names.ensure_records(domains=acme, target=target, mark=mark, call=call(seconds=0.3))
    assert outage.value.lost is lost

    names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    assert server.read("acme", "CNAME") == [f"{target}."]
    server.break_(mode)
    with pytest.raises(Outage):
        names.remove_records(domains=acme, mark=mark, call=call(seconds=0.3))
    names.remove_records(domains=acme, mark=mark, call=call())

    assert names.find(domains=acme, mark=mark, call=call()) == []
    assert server.read("acme", "CNAME") == []


def test_what_lands_late_is_found_and_removed(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.LATE_EFFECT)
    with pytest.raises(Outage) as outage:
        names.ensure_records(domains=acme, target=target, mark=mark, call=call(seconds=0.3))
    assert outage.value.lost
    assert [type(each) for each in names.remove_records(domains=acme, mark=mark, call=call())] == [NothingToRemove]

    until = time.monotonic() + 10
    while not names.find(domains=acme, mark=mark, call=call()):
        assert time.monotonic() < until, "the late effect never came"
        time.sleep(0.05)

    assert [type(each) for each in names.remove_records(domains=acme, mark=mark, call=call())] == [Removed]


def test_what_lands_late_does_not_disturb_what_a_second_attempt_made(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.LATE_EFFECT)
    with pytest.raises(Outage):
        names.ensure_records(domains=acme, target=server.name("old"), mark=mark, call=call(seconds=0.3))
    names.ensure_records(domains=acme, target=target, mark=mark, call=call())
    assert server.standin is not None
    until = time.monotonic() + 10
    while server.standin.holding:
        assert time.monotonic() < until, "the late effect never came"
        time.sleep(0.05)

    assert server.read("acme", "CNAME") == [f"{target}."]


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.TIMEOUT_BEFORE, Mode.RATE_LIMITED, Mode.SERVER_ERROR])
def test_a_query_that_fails_is_never_nothing_there(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls, mode: Mode
) -> None:
    names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    for ask in (
        lambda: names.find(domains=acme, mark=mark, call=call(seconds=0.3)),
        lambda: names.remove_records(domains=acme, mark=mark, call=call(seconds=0.3)),
        lambda: names.ensure_records(domains=acme, target=target, mark=mark, call=call(seconds=0.3)),
    ):
        server.break_(mode, "QUERY")
        with pytest.raises(Outage) as outage:
            ask()
        assert not outage.value.lost

    assert server.read("acme", "CNAME") == [f"{target}."]


def test_a_slow_answer_is_an_answer(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.SLOW)

    done = names.ensure_records(domains=acme, target=target, mark=mark, call=call())

    assert [type(each) for each in done] == [Created]


def test_unauthorized_is_not_tried_again(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.UNAUTHORIZED)

    with pytest.raises(InvalidCredentials, match=r"DNS .*401 Unauthorized"):
        names.ensure_records(domains=acme, target=target, mark=mark, call=call())


def test_a_fault_hits_only_the_tenant_it_is_for(
    server: Server, names: NameService, acme: Sequence[str], target: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    server.break_(Mode.SERVER_ERROR, tenant="acme")

    theirs = names.ensure_records(domains=[server.name("neighbour")], target=target, mark=neighbour, call=call())
    assert [type(each) for each in theirs] == [Created]
    with pytest.raises(Outage):
        names.ensure_records(domains=acme, target=target, mark=mark, call=call())


@pytest.mark.parametrize("wrong", ["secret", "name"])
def test_a_wrong_key_is_named_and_its_secret_is_not(
    server: Server, acme: Sequence[str], mark: Mark, call: Calls, wrong: str
) -> None:
    secret = base64.b64encode(b"another key of the same length, not it").decode()
    with_wrong = {
        "secret": dataclasses.replace(server.zone, key_secret=secret),
        "name": dataclasses.replace(server.zone, key_name="other"),
    }
    zone = with_wrong[wrong]

    with pytest.raises(InvalidCredentials, match="DNS does not accept key") as failure:
        Rfc2136(zone).find(domains=acme, mark=mark, call=call())

    _hides(failure.value, zone)


def test_a_key_that_is_no_base64_is_a_matter_of_configuration(
    server: Server, acme: Sequence[str], mark: Mark, call: Calls
) -> None:
    zone = dataclasses.replace(server.zone, key_secret="abcde")

    with pytest.raises(InvalidConfiguration, match="base64") as failure:
        Rfc2136(zone).find(domains=acme, mark=mark, call=call())

    _hides(failure.value, zone)
    assert failure.value.__cause__ is None


def _hides(failure: Failure, zone: DnsZone) -> None:
    for text in (str(failure), repr(failure), str(failure.way_out), repr(zone)):
        assert zone.key_secret not in text


def test_a_zone_the_server_does_not_have_is_a_matter_of_configuration(
    server: Server, target: str, mark: Mark, call: Calls
) -> None:
    names = Rfc2136(dataclasses.replace(server.zone, zone="elsewhere.example.test"))

    with pytest.raises(InvalidConfiguration, match="zone elsewhere"):
        names.ensure_records(domains=["acme.elsewhere.example.test"], target=target, mark=mark, call=call())


def test_nothing_listens(server: Server, acme: Sequence[str], mark: Mark, call: Calls) -> None:
    nowhere = Rfc2136(dataclasses.replace(server.zone, url="dns://127.0.0.1:1"))

    with pytest.raises(Outage, match=r"DNS does not answer: Connection refused \(ECONNREFUSED\) 127.0.0.1:1") as outage:
        nowhere.remove_records(domains=acme, mark=mark, call=call())

    assert not outage.value.lost


@pytest.mark.parametrize("domain", ["two..dots", "x" * 64, "", "a." * 130 + "test"])
def test_what_is_no_name_is_refused_and_has_nothing_to_remove(
    server: Server, names: NameService, target: str, mark: Mark, call: Calls, domain: str
) -> None:
    inside = f"{domain}.{server.zone.zone}"

    with pytest.raises(Validation):
        names.ensure_records(domains=[inside], target=target, mark=mark, call=call())

    assert list(names.remove_records(domains=[inside], mark=mark, call=call())) == []


def test_the_zone_itself_can_have_no_cname(
    server: Server, names: NameService, target: str, mark: Mark, call: Calls
) -> None:
    with pytest.raises(Validation, match="the zone itself"):
        names.ensure_records(domains=[server.zone.zone], target=target, mark=mark, call=call())
