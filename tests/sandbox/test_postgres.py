"""The local PostgreSQL: how it is made, started, stopped, and who gets in."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sandbox import postgres
from sandbox.postgres import NotStarted, Server


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that the server's account can walk to (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="tenant-pipelines-postgres-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_command_is_bound_to_loopback_without_a_socket_file(directory: Path) -> None:
    command = postgres.postgres_command(directory / "data", 5432)

    assert command[0] == str(postgres.programs() / "postgres")
    assert command[1:9] == ["-D", str(directory / "data"), "-h", "127.0.0.1", "-p", "5432", "-k", ""]
    assert "max_connections=200" in command
    assert not any("fsync" in part for part in command)
    assert "fsync=off" in postgres.postgres_command(directory / "data", 5432, fsync=False)


def test_the_data_outlive_a_restart_and_the_port_is_free_afterwards(directory: Path) -> None:
    with postgres.running(directory, fsync=False) as first, psycopg.connect(first.dsn(), autocommit=True) as admin:
        admin.execute("create table kept (a int)")
    with postgres.running(directory, port=first.port) as second, psycopg.connect(second.dsn()) as admin:
        assert admin.execute("select count(*) from kept").fetchone() == (0,)
        assert admin.execute("show max_connections").fetchone() == ("200",)
        assert admin.execute("show unix_socket_directories").fetchone() == ("",)
        assert admin.execute("show listen_addresses").fetchone() == ("127.0.0.1",)

    assert second.port == first.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", second.port), timeout=1)
    assert stat.S_IMODE((directory / "data").stat().st_mode) == 0o700
    assert sorted(entry.name for entry in directory.iterdir()) == ["data", "postgres.log"]


def test_nobody_gets_in_without_the_password(postgres: Server) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres.dsn(password="wrong"))
    with psycopg.connect(postgres.dsn()) as admin:
        methods = admin.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
    assert methods == [("scram-sha-256",)]
    assert "s3cret" not in repr(Server("h", 1, "s3cret"))


def test_a_dsn_survives_any_password() -> None:
    server = Server("127.0.0.1", 5432, "p@ss/w:rd %&?")

    assert psycopg.conninfo.conninfo_to_dict(server.dsn("a b", user="ü")) == {
        "host": "127.0.0.1",
        "port": "5432",
        "dbname": "a b",
        "user": "ü",
        "password": "p@ss/w:rd %&?",
    }


def test_an_initialisation_that_fails_leaves_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SUPERUSER", "pg_not_allowed")

    with pytest.raises(NotStarted, match="initdb ended with code 1"):
        postgres.initialise(directory / "data", "secret")

    assert list(directory.iterdir()) == []


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotStarted, match=r"(?s)ended with code 1.*in use"), postgres.running(directory, port=port):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up its rights")
class TestAsRoot:
    def test_the_server_runs_as_nobody(self, directory: Path) -> None:
        with postgres.running(directory, fsync=False):
            pid = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])
            account = postgres.account()
            assert account is not None
            assert Path(f"/proc/{pid}").stat().st_uid == account.pw_uid != 0
            assert (directory / "data").stat().st_uid == account.pw_uid

    def test_a_folder_out_of_reach_gets_a_substitute(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "SHELTER", directory / "shelter")
        closed = directory / "closed"
        closed.mkdir(mode=0o700)

        place = postgres.place(closed / "project" / ".local")

        assert place.parent == directory / "shelter"
        assert place == postgres.place(closed / "project" / ".local")
        assert postgres.place(directory / "open") == directory / "open"
        with pytest.raises(NotStarted, match="nobody cannot reach"):
            postgres.initialise(closed / "data", "secret")

    def test_programs_out_of_reach_are_copied_once(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "SHELTER", directory / "shelter")
        monkeypatch.setattr(postgres, "_reachable", lambda path: directory in (path, *path.parents))

        copied = postgres.programs()
        again = postgres.programs()

        assert copied == again
        assert copied.parent.parent.parent.parent == directory / "shelter"
        with postgres.running(directory, fsync=False) as server, psycopg.connect(server.dsn()) as admin:
            assert admin.execute("select 1").fetchone() == (1,)


def test_a_killed_owner_takes_the_server_along(directory: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from sandbox.postgres import running\n"
        "with running(pathlib.Path(sys.argv[1]), fsync=False) as server:\n"
        "    print(server.port, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while (directory / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
