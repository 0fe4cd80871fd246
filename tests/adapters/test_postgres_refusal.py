"""How the SQLSTATE of a refused session is read from the server, over TLS too."""

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sandbox.postgres import Server
from tenant_pipelines.adapters.postgres import refusal
from tenant_pipelines.adapters.postgres.refusal import Target, Unclear

REFUSED = b"E" + (4 + 22).to_bytes(4, "big") + b"SFATAL\0C28000\0Mno one\0\0"


def target(server: Server, **changes: str) -> Target:
    return Target.of({**conninfo_to_dict(server.dsn()), **changes})


def test_a_session_that_would_be_taken_has_no_code(postgres: Server) -> None:
    assert refusal.sqlstate(target(postgres), 5) is None


def test_wrong_and_missing_passwords_and_databases_have_theirs(postgres: Server) -> None:
    changes = [{"password": "wrong"}, {"password": ""}, {"dbname": "nowhere"}, {"user": "nobody_at_all"}]

    assert [refusal.sqlstate(target(postgres, **one), 5) for one in changes] == ["28P01", "28P01", "3D000", "28P01"]


def test_a_password_that_is_not_ascii_is_proven_too(postgres: Server) -> None:
    password = "pässwörd-Å"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("create role umlaut login password {}").format(sql.Literal(password)))
        try:
            assert refusal.sqlstate(target(postgres, user="umlaut", password=password), 5) is None
        finally:
            admin.execute("drop role umlaut")


def test_a_server_without_tls_is_told_from_one_that_refuses(postgres: Server) -> None:
    with psycopg.connect(postgres.dsn()) as admin:
        speaks_tls = admin.execute("show ssl").fetchone() == ("on",)
    if speaks_tls:
        pytest.skip("this server speaks TLS")
    with pytest.raises(Unclear, match="does not speak TLS"):
        refusal.sqlstate(target(postgres, sslmode="require"), 5)


def test_the_target_is_the_first_of_several_hosts() -> None:
    found = Target.of(conninfo_to_dict("host=a,b port=1,2 user=u password=s3cret sslmode=require"))

    assert found == Target("a", 1, "u", "u", "s3cret", "require")
    assert "s3cret" not in repr(found)
    assert Target.of({}).port == 5432


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return file


@contextmanager
def tls_server(certificate: Path) -> Iterator[int]:
    """Takes one connection, speaks TLS, and refuses whoever comes with 28000."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            plain, _ = server.accept()
            with plain:
                plain.settimeout(10)
                plain.recv(8)
                plain.sendall(b"S")
                try:
                    with context.wrap_socket(plain, server_side=True) as wire:
                        wire.recv(4096)
                        wire.sendall(REFUSED)
                        wire.recv(1)
                except OSError:
                    pass  # a client that does not trust us hangs up

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(timeout=10)


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
def test_the_code_is_read_over_tls(certificate: Path, sslmode: str) -> None:
    with tls_server(certificate) as port:
        assert refusal.sqlstate(Target("127.0.0.1", port, "u", "d", "p", sslmode), 5) == "28000"


def test_a_verified_server_is_believed_and_an_unknown_one_is_not(certificate: Path) -> None:
    with tls_server(certificate) as port:
        trusted = Target("127.0.0.1", port, "u", "d", "p", "verify-full", str(certificate))
        assert refusal.sqlstate(trusted, 5) == "28000"
    with tls_server(certificate) as port, pytest.raises(Unclear, match="no TLS session"):
        refusal.sqlstate(Target("127.0.0.1", port, "u", "d", "p", "verify-full"), 5)
