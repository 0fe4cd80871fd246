"""The table of ports."""

import socket
from pathlib import Path

import pytest

from sandbox.stack import ports
from sandbox.stack.failure import StackFailure
from sandbox.stack.ports import BASE, HOST, OFFSET, Ports
from tests.stack.conftest import free_offset


def test_no_two_parts_want_the_same_port() -> None:
    assert len(set(BASE.values())) == len(BASE)


@pytest.mark.parametrize(
    ("name", "port"),
    [("postgres", 5432), ("keycloak", 8180), ("s3", 9000), ("s3_health", 9001), ("rest", 14000), ("dagster", 3000)],
)
def test_the_ports_that_the_runbook_names(name: str, port: int) -> None:
    assert Ports()[name] == port


def test_the_offset_moves_every_port() -> None:
    moved = ports.from_environment({OFFSET: "1000"})

    assert {name: moved[name] - BASE[name] for name in BASE} == dict.fromkeys(BASE, 1000)


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "60000", "²"])
def test_an_offset_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(StackFailure, match=OFFSET):
        ports.from_environment({OFFSET: text})


@pytest.mark.parametrize(("first", "largest"), [("32768 60999", 32767), ("1024 65535", 65535)])
def test_no_port_is_one_that_outgoing_connections_may_have(
    first: str, largest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing = tmp_path / "ip_local_port_range"
    outgoing.write_text(first)
    monkeypatch.setattr(ports, "OUTGOING", outgoing)
    room = largest - max(BASE.values())

    assert max(ports.from_environment({OFFSET: str(room)})[name] for name in BASE) == largest
    with pytest.raises(StackFailure, match=OFFSET):
        ports.from_environment({OFFSET: str(room + 1)})


@pytest.mark.parametrize(
    ("name", "who"), [("postgres", "PostgreSQL"), ("novu", "the novu stand-in"), ("s3_server_part_3", "the S3 server")]
)
def test_a_port_in_use_is_named_with_what_wants_it_and_the_way_out(name: str, who: str) -> None:
    around = Ports(free_offset())
    with socket.create_server((HOST, around[name])), pytest.raises(StackFailure) as refused:
        ports.refuse_taken(around, BASE)

    assert f"Port {around[name]} is in use; {who} wants it." in str(refused.value)
    assert OFFSET in str(refused.value)
    ports.refuse_taken(around, BASE)


def test_a_udp_port_in_use_is_seen_too() -> None:
    around = Ports(free_offset())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, around["dns"]))

        with pytest.raises(StackFailure, match="DNS wants it"):
            ports.refuse_taken(around, BASE)
