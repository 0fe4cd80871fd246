"""The name server of the sandbox: RFC 2136 to the letter, signatures, UDP, the switch, and a restart.

The table of updates holds for any server: point TENANT_PIPELINES_TEST_DNS_URL, _ZONE, _KEY_NAME and _KEY_SECRET to a
real one (it was written down from Knot 3.2.6) to see it hold there.
"""

import base64
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import httpx
import pytest
from dns.message import Message
from dns.rcode import Rcode
from dns.update import UpdateMessage

from sandbox import serving
from sandbox.dns import NameServer, running
from sandbox.faults import Fault, Mode
from sandbox.store import Store

PREFIX = "TENANT_PIPELINES_TEST_DNS_"
ZONE = "tenants.example.test"
SECRET = base64.b64encode(b"a key of the tests, 32 bytes long").decode()
KEY = dns.tsig.Key("tenant-pipelines", SECRET)
MARK = '"tenantId=6f2b;managedBy=tenant-pipelines"'


@dataclass(frozen=True)
class Client:
    """Talks to one server."""

    host: str
    port: int
    zone: str
    key: dns.tsig.Key | None

    def send(self, message: Message, *, timeout: float = 10, udp: bool = False) -> Message:
        if self.key is not None:
            message.use_tsig(self.key)
        if udp:
            return dns.query.udp(message, self.host, timeout=timeout, port=self.port)
        return dns.query.tcp(message, self.host, timeout=timeout, port=self.port)

    def ask(self, label: str, kind: str, *, udp: bool = False) -> Message:
        return self.send(dns.message.make_query(self.full(label), kind), udp=udp)

    def read(self, label: str) -> list[str]:
        """Every record of the name as `TYPE value`, sorted."""
        answer = self.ask(label, "ANY").answer
        return sorted(f"{rrset.rdtype.name} {record}" for rrset in answer for record in rrset)

    def update(self, *changes: Callable[[UpdateMessage, Callable[[str], dns.name.Name]], None]) -> Rcode:
        message = UpdateMessage(self.zone)
        for change in changes:
            change(message, self.full)
        return self.send(message).rcode()

    def full(self, label: str) -> dns.name.Name:
        return dns.name.from_text(label, dns.name.from_text(self.zone))


def add(label: str, kind: str, value: str) -> Callable[[UpdateMessage, Callable[[str], dns.name.Name]], None]:
    return lambda message, full: message.add(full(label), 300, kind, value)


def delete(label: str, *rest: str) -> Callable[[UpdateMessage, Callable[[str], dns.name.Name]], None]:
    return lambda message, full: message.delete(full(label), *rest)


def present(label: str, *rest: str) -> Callable[[UpdateMessage, Callable[[str], dns.name.Name]], None]:
    return lambda message, full: message.present(full(label), *rest)


def absent(label: str, kind: str | None = None) -> Callable[[UpdateMessage, Callable[[str], dns.name.Name]], None]:
    return lambda message, full: message.absent(full(label), kind)


@pytest.fixture(scope="module")
def any_server() -> Iterator[Client]:
    if url := os.environ.get(f"{PREFIX}URL"):
        name, key, secret = (os.environ[f"{PREFIX}{each}"] for each in ("ZONE", "KEY_NAME", "KEY_SECRET"))
        parts = urlsplit(url)
        yield Client(parts.hostname or "", parts.port or 53, name, dns.tsig.Key(key, secret))
        return
    with running(NameServer(zone=ZONE, key_secret=SECRET)) as port:
        yield Client("127.0.0.1", port, ZONE, KEY)


@pytest.fixture
def server() -> NameServer:
    return NameServer(zone=ZONE, key_secret=SECRET)


@pytest.fixture
def client(server: NameServer) -> Iterator[Client]:
    with running(server) as port:
        yield Client("127.0.0.1", port, ZONE, KEY)


HAS_CNAME = [add("a", "CNAME", "b.example.")]
HAS_ADDRESS = [add("a", "A", "192.0.2.1")]
HAS_MARK = [add("_m.a", "TXT", MARK)]


@pytest.mark.parametrize(
    ("before", "changes", "code", "after"),
    [
        ([], [add("a", "CNAME", "b.example.")], Rcode.NOERROR, ["CNAME b.example."]),
        ([], [absent("a"), add("a", "A", "192.0.2.1")], Rcode.NOERROR, ["A 192.0.2.1"]),
        (HAS_CNAME, [absent("a"), add("a", "A", "192.0.2.1")], Rcode.YXDOMAIN, ["CNAME b.example."]),
        (HAS_MARK, [absent("a"), add("a", "A", "192.0.2.1")], Rcode.NOERROR, ["A 192.0.2.1"]),
        (HAS_CNAME, [absent("a", "CNAME")], Rcode.YXRRSET, ["CNAME b.example."]),
        ([], [present("a")], Rcode.NXDOMAIN, []),
        (HAS_MARK, [present("a")], Rcode.NXDOMAIN, []),
        (HAS_ADDRESS, [present("a", "CNAME")], Rcode.NXRRSET, ["A 192.0.2.1"]),
        (HAS_ADDRESS, [present("a", "A", "192.0.2.1"), delete("a")], Rcode.NOERROR, []),
        (HAS_ADDRESS, [present("a", "A", "192.0.2.2"), delete("a")], Rcode.NXRRSET, ["A 192.0.2.1"]),
        (
            [*HAS_ADDRESS, add("a", "A", "192.0.2.2")],
            [present("a", "A", "192.0.2.1"), delete("a")],
            Rcode.NXRRSET,
            ["A 192.0.2.1", "A 192.0.2.2"],
        ),
        (HAS_ADDRESS, [add("a", "CNAME", "b.example.")], Rcode.NOERROR, ["A 192.0.2.1"]),
        (HAS_CNAME, [add("a", "A", "192.0.2.1")], Rcode.NOERROR, ["CNAME b.example."]),
        (HAS_CNAME, [delete("a", "A")], Rcode.NOERROR, ["CNAME b.example."]),
        (HAS_CNAME, [delete("a", "CNAME"), add("a", "CNAME", "c.example.")], Rcode.NOERROR, ["CNAME c.example."]),
        (HAS_CNAME, [add("a", "CNAME", "c.example.")], Rcode.NOERROR, ["CNAME c.example."]),
        (
            [*HAS_ADDRESS, add("a", "A", "192.0.2.2")],
            [delete("a", "A", "192.0.2.1")],
            Rcode.NOERROR,
            ["A 192.0.2.2"],
        ),
        (HAS_ADDRESS, [add("a", "A", "192.0.2.9"), add("a", "A", "192.0.2.1"), absent("b")], Rcode.NOERROR, None),
        ([], [add("a", "A", "192.0.2.1"), present("b")], Rcode.NXDOMAIN, []),
    ],
)
def test_an_update_is_carried_out_wholly_or_not_at_all(
    any_server: Client,
    before: Sequence[Callable[..., None]],
    changes: Sequence[Callable[..., None]],
    code: Rcode,
    after: list[str] | None,
) -> None:
    any_server.update(delete("a"), delete("_m.a"))
    for each in before:
        assert any_server.update(each) is Rcode.NOERROR

    assert any_server.update(*changes) is code

    assert any_server.read("a") == (["A 192.0.2.1", "A 192.0.2.9"] if after is None else after)
    any_server.update(delete("a"), delete("_m.a"))


def test_an_update_of_another_zones_name_is_notzone(any_server: Client) -> None:
    message = UpdateMessage(any_server.zone)
    message.add(dns.name.from_text("a.example.org."), 300, "A", "192.0.2.1")

    assert any_server.send(message).rcode() is Rcode.NOTZONE


def test_the_top_of_the_zone_keeps_what_it_needs(any_server: Client) -> None:
    assert any_server.update(delete("@")) is Rcode.NOERROR

    assert [len(any_server.ask("@", kind).answer) for kind in ("SOA", "NS")] == [1, 1]


def test_a_missing_name_and_a_missing_record_are_told_apart(any_server: Client) -> None:
    any_server.update(delete("a"), delete("_m.a"), add("_m.a", "TXT", MARK))

    between, missing = any_server.ask("a", "A"), any_server.ask("nobody", "A")

    assert (between.rcode(), missing.rcode()) == (Rcode.NOERROR, Rcode.NXDOMAIN)
    for answer in (between, missing):
        assert not answer.answer
        assert [rrset.rdtype.name for rrset in answer.authority] == ["SOA"]
        assert answer.flags & dns.flags.AA
        assert answer.had_tsig
    any_server.update(delete("_m.a"))


def test_the_serial_grows_with_each_change_only(client: Client) -> None:
    def serial() -> int:
        return int(client.ask("@", "SOA").answer[0][0].serial)

    first = serial()
    client.update(add("a", "A", "192.0.2.1"))
    assert serial() == first + 1
    client.update(present("nobody"))
    assert serial() == first + 1


def test_a_chain_of_names_is_followed_inside_the_zone(client: Client) -> None:
    client.update(add("a", "CNAME", f"ingress.{ZONE}."), add("b", "CNAME", "elsewhere.example.org."))

    inside, outside = client.ask("a", "A"), client.ask("b", "A")

    assert [rrset.rdtype.name for rrset in inside.answer] == ["CNAME", "A"]
    assert [rrset.rdtype.name for rrset in outside.answer] == ["CNAME"]
    assert outside.rcode() is Rcode.NOERROR


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_a_wrong_key_is_told_and_changes_nothing(client: Client, udp: bool) -> None:
    wrong = dns.tsig.Key("tenant-pipelines", base64.b64encode(b"not the key").decode())
    unknown = dns.tsig.Key("somebody", SECRET)
    message = UpdateMessage(ZONE)
    message.add(client.full("a"), 300, "A", "192.0.2.1")

    with pytest.raises(dns.tsig.PeerBadSignature):
        Client(client.host, client.port, ZONE, wrong).send(message, udp=udp)
    with pytest.raises(dns.tsig.PeerBadKey):
        Client(client.host, client.port, ZONE, unknown).send(message, udp=udp)

    assert client.read("a") == []


def test_an_unsigned_update_is_refused_and_an_unsigned_query_answered(client: Client) -> None:
    nobody = Client(client.host, client.port, ZONE, None)

    assert nobody.update(add("a", "A", "192.0.2.1")) is Rcode.REFUSED
    assert nobody.read("ingress") == ["A 127.0.0.1"]
    assert nobody.read("a") == []


def test_over_udp_a_long_answer_is_cut_off_and_marked(client: Client) -> None:
    client.update(*(add("a", "TXT", f'"{number:0200d}"') for number in range(5)))

    short, whole = client.ask("a", "TXT", udp=True), client.ask("a", "TXT")

    assert short.flags & dns.flags.TC
    assert not short.answer
    assert len(whole.answer[0]) == 5


def test_what_cannot_be_read_is_a_format_error(client: Client) -> None:
    broken = dns.message.make_query(client.full("a"), "A").to_wire()[:-3]

    with pytest.raises(dns.message.ShortHeader):
        dns.message.from_wire(b"")
    answer = _raw(client, broken)

    assert answer.rcode() is Rcode.FORMERR
    assert client.read("ingress") == ["A 127.0.0.1"]


def _raw(client: Client, wire: bytes) -> Message:
    with socket.create_connection((client.host, client.port), 10) as connection:
        connection.setblocking(False)
        dns.query.send_tcp(connection, wire, time.time() + 10)
        answer, _ = dns.query.receive_tcp(connection, time.time() + 10)
        return answer


def test_one_connection_may_ask_more_than_once(client: Client) -> None:
    with socket.create_connection((client.host, client.port), 10) as connection:
        connection.setblocking(False)
        for label in ("ns", "ingress"):
            message = dns.message.make_query(client.full(label), "A")
            answer = dns.query.tcp(message, client.host, timeout=10, sock=connection)
            assert answer.answer[0].name == client.full(label)


def test_the_zone_outlives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "dns.sqlite"
    first = Store(file)
    with running(NameServer(first, zone=ZONE, key_secret=SECRET)) as port:
        Client("127.0.0.1", port, ZONE, KEY).update(add("a", "CNAME", "b.example."), add("_m.a", "TXT", MARK))
    first.close()

    second = Store(file)
    again = NameServer(second, zone=ZONE, key_secret=SECRET)
    with running(again) as port:
        assert Client("127.0.0.1", port, ZONE, KEY).read("a") == ["CNAME b.example."]
    assert sorted(seen.name for seen, _ in again.seen()) == [f"_m.a.{ZONE}", f"a.{ZONE}"]
    second.close()


def test_the_state_shows_what_is_there_and_whose_it_is(server: NameServer, client: Client) -> None:
    client.update(add("acme", "CNAME", "b.example."), add("_tenant-pipelines.acme", "TXT", MARK))
    client.update(add("acme2", "A", "192.0.2.1"))

    with serving.running(server.app()) as port:
        shown = httpx.get(f"http://127.0.0.1:{port}/_sandbox/state", params={"tenant": "acme"}).json()["objects"]
        everything = httpx.get(f"http://127.0.0.1:{port}/_sandbox/state").json()["objects"]

    assert sorted((each["kind"], each["name"], each["ours"]) for each in shown) == [
        ("cname", f"acme.{ZONE}", True),
        ("txt", f"_tenant-pipelines.acme.{ZONE}", True),
    ]
    assert [each["ours"] for each in everything if each["name"] == f"acme2.{ZONE}"] == [False]


def test_the_switch_is_set_over_http(server: NameServer, client: Client) -> None:
    with serving.running(server.app()) as port:
        url = f"http://127.0.0.1:{port}/_sandbox/faults"
        httpx.put(url, json=[{"operation": "UPDATE", "mode": "server_error", "times": 1}]).raise_for_status()

        assert client.read("ingress") == ["A 127.0.0.1"]
        assert client.update(add("a", "A", "192.0.2.1")) is Rcode.SERVFAIL
        assert httpx.get(url).json() == []

    assert client.read("a") == []


@pytest.mark.parametrize(
    ("mode", "code", "effect"),
    [
        (Mode.RATE_LIMITED, Rcode.REFUSED, False),
        (Mode.SERVER_ERROR, Rcode.SERVFAIL, False),
        (Mode.HALF_DONE, Rcode.SERVFAIL, True),
        (Mode.UNAUTHORIZED, None, False),
        (Mode.REFUSE, None, False),
        (Mode.TIMEOUT_BEFORE, None, False),
        (Mode.TIMEOUT_AFTER, None, True),
        (Mode.LATE_EFFECT, None, False),
    ],
)
@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_every_way_to_go_wrong(
    server: NameServer, client: Client, mode: Mode, code: Rcode | None, effect: bool, udp: bool
) -> None:
    server.switch.replace([Fault("UPDATE", mode, 1)])
    message = UpdateMessage(ZONE)
    message.add(client.full("a"), 300, "A", "192.0.2.1")
    message.use_tsig(KEY)

    answered: Rcode | None = None
    ask = dns.query.udp if udp else dns.query.tcp
    try:
        answered = ask(message, client.host, timeout=0.2, port=client.port).rcode()
    except (dns.exception.DNSException, OSError, EOFError):
        # An unsigned answer to a signed message is an error to this client as well.
        assert code in {None, Rcode.REFUSED}

    assert answered in {code, None}
    assert client.read("a") == (["A 192.0.2.1"] if effect else [])


def test_a_late_effect_lands_once_somebody_has_looked(server: NameServer, client: Client) -> None:
    server.switch.replace([Fault("UPDATE", Mode.LATE_EFFECT, 1)])
    message = UpdateMessage(ZONE)
    message.add(client.full("a"), 300, "A", "192.0.2.1")
    with pytest.raises(dns.exception.Timeout):
        client.send(message, timeout=0.1)
    assert server.holding

    until = time.monotonic() + 10
    while not client.read("a"):
        assert time.monotonic() < until, "the late effect never came"
        time.sleep(0.05)
    assert not server.holding
