"""The stack's commands where no stack runs, and what every command has to keep to."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.dns import NameServer
from sandbox.serving import running
from sandbox.stack.folder import Folder
from sandbox.stack.ports import HOST, OFFSET
from tenant_pipelines.cli import main
from tests.stack.conftest import free_offset


def run(*arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """The exit code, and what was said on standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["tenant-pipelines", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.run()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


class Runs:
    """Runs commands about a folder."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._home, self._capsys, self._monkeypatch = home, capsys, monkeypatch

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        return run(*arguments, "--home", str(self._home), capsys=self._capsys, monkeypatch=self._monkeypatch)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize(
    "arguments",
    [("stack", "status"), ("stack", "restart", "s3"), ("worker", "stop"), ("worker", "start"), ("sandbox", "state")],
)
def test_without_a_stack_the_code_is_3_and_the_way_out_is_said(command: Runs, arguments: tuple[str, ...]) -> None:
    code, _, said = command(*arguments)

    assert code == 3
    assert "make up" in said


def test_down_without_a_stack_is_done_at_once(command: Runs) -> None:
    assert command("down", "--json") == (0, '{\n  "ended": false\n}\n', "")


def test_a_part_that_does_not_exist_is_wrong_usage(command: Runs) -> None:
    code, _, said = command("logs", "nonsense")

    assert code == 2
    assert "keycloak" in said


def test_up_names_a_port_that_is_taken_before_it_starts_anything(
    command: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = free_offset()
    monkeypatch.setenv(OFFSET, str(offset))
    with socket.create_server((HOST, offset + 9000)):
        code, _, said = command("up")

    assert code == 1
    assert f"Port {offset + 9000} is in use; S3 wants it." in said
    assert not Folder(tmp_path).supervisord_conf.exists()


def test_faults_are_added_shown_and_cleared(command: Runs, tmp_path: Path) -> None:
    stand_in = NameServer(key_secret="c2VjcmV0")
    folder = Folder(tmp_path)
    folder.prepare()
    with running(stand_in.app()) as port:
        place = {"url": "dns://127.0.0.1:1", "sandbox_url": f"http://127.0.0.1:{port}"}
        folder.stack_json.write_text(json.dumps({"services": {"dns": place}}))

        assert command("sandbox", "fault", "dns", "UPDATE", "server_error", "--times", "2", "--tenant", "acme")[0] == 0
        assert stand_in.switch.as_json() == [
            {"operation": "UPDATE", "mode": "server_error", "times": 2, "tenant": "acme"}
        ]
        assert json.loads(command("sandbox", "fault", "dns", "--json")[1]) == stand_in.switch.as_json()
        assert command("sandbox", "fault", "dns", "UPDATE", "nonsense")[0] == 2
        assert command("sandbox", "fault", "nonsense")[0] == 2
        assert command("sandbox", "fault", "dns", "--clear")[1] == "dns has no faults.\n"
        assert stand_in.switch.as_json() == []
        assert json.loads(command("sandbox", "state", "--tenant", "acme", "--json")[1]) == {"objects": []}


def test_no_command_waits_for_dagster_to_be_imported() -> None:
    script = (
        "import sys, tenant_pipelines.cli.main; "
        "heavy = {'dagster', 'boto3', 'kubernetes', 'sqlalchemy', 'psycopg', 'uvicorn'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
