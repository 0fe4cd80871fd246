"""What the supervisor is told, and the parts that people know."""

import configparser
from pathlib import Path

import pytest

from sandbox.stack import credentials, log_lines, parts, programs, supervision
from sandbox.stack.failure import StackFailure, UnknownPart
from sandbox.stack.folder import Folder
from sandbox.stack.generated import SERVICES
from sandbox.stack.ports import Ports
from sandbox.stack.programs import Choice
from sandbox.stack.supervision import Program


def _configured(folder: Folder, *given: Program) -> configparser.RawConfigParser:
    supervision.configure(folder, given)
    found = configparser.RawConfigParser()
    found.read_string(folder.supervisord_conf.read_text())
    return found


def test_no_secret_is_in_the_configuration_or_on_a_command_line(folder: Folder) -> None:
    made = credentials.ensure(folder)
    whole = programs.programs(folder, Ports(), made, Choice())

    supervision.configure(folder, whole)

    text = folder.supervisord_conf.read_text()
    assert not any(getattr(made, name) in text for name in credentials.PLACES)


def test_the_supervisor_has_no_tcp_port(folder: Folder) -> None:
    found = _configured(folder)

    assert "inet_http_server" not in found
    assert found["unix_http_server"]["chmod"] == "0700"


def test_odd_characters_in_paths_survive(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "100% odd name")
    folder.prepare()
    program = Program("odd", ["/bin/echo", "50%", "two words"], environment=folder.dagster_env)

    found = _configured(folder, program)["program:odd"]

    assert found["command"].replace("%%", "%").count("100% odd name") == 1
    assert "'\"'\"'two words'\"'\"'" in found["command"]
    assert "%%" in found["stdout_logfile"]


def test_postgres_is_stopped_in_its_own_way(folder: Folder) -> None:
    made = credentials.ensure(folder)
    found = _configured(folder, *programs.programs(folder, Ports(), made, Choice()))["program:postgres"]

    assert (found["stopsignal"], found["stopasgroup"]) == ("INT", "false")


def test_every_system_is_a_part() -> None:
    assert set(programs.PARTS) >= set(SERVICES) | {"dagster", "rest", "worker"}


def test_a_part_that_does_not_exist_is_refused_with_the_list(folder: Folder) -> None:
    folder.stack_json.write_text("{}")

    with pytest.raises(UnknownPart, match=r"no part nonsense.*keycloak"):
        parts.restart(folder, "nonsense")


@pytest.mark.parametrize("ask", [parts.status, parts.addresses, parts.stop_worker, parts.start_worker])
def test_without_a_stack_everything_says_so(folder: Folder, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(StackFailure, match="make up") as refused:
        ask(folder)

    assert not refused.value.reachable


def test_log_lines_of_a_workflow_with_a_marker(folder: Folder) -> None:
    (folder.logs / log_lines.WORKFLOWS).write_text(
        "[FLOW_START] a workflowId=provision-tenant-1\n"
        "[FLOW_FAIL] b workflowId=provision-tenant-1\n"
        "[FLOW_FAIL] c workflowId=provision-tenant-2\n"
    )

    found = log_lines.last(folder, "", marker="FLOW_FAIL", workflow="provision-tenant-1", count=5)

    assert found == ["[FLOW_FAIL] b workflowId=provision-tenant-1"]
    assert len(log_lines.last(folder, "", marker="", workflow="", count=2)) == 2


def test_a_stand_in_shares_its_log(folder: Folder) -> None:
    (folder.logs / "stand-ins.log").write_text("one\ntwo\n")

    assert log_lines.last(folder, "keycloak", marker="", workflow="", count=1) == ["two"]
    with pytest.raises(UnknownPart):
        log_lines.last(folder, "nonsense", marker="", workflow="", count=1)
