"""`workflow list|show|signal`: the exit codes, what is said, and that a refusal changes nothing."""

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tests.cli.conftest import Terminal
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, dump


@pytest.fixture
def waiting(company: HeardCompany, key: str) -> Execution:
    """A provisioning that waits for the app plane's confirmation."""
    return company.provision(key, plan="free")


def test_list_shows_the_newest_first(terminal: Terminal, company: HeardCompany, key: str) -> None:
    older, newer = company.provision(key, plan="free"), company.provision(f"{key}x", plan="free")

    said = terminal("workflow", "list", "--limit", "2", "--json")

    assert said.code == 0
    assert [item["id"] for item in said.document["data"]] == [str(newer.id), str(older.id)]
    table = terminal("workflow", "list", "--limit", "1").out
    assert newer.workflow_id in table
    assert older.workflow_id not in table


def test_show_tells_status_step_and_history(terminal: Terminal, waiting: Execution) -> None:
    said = terminal("workflow", "show", waiting.workflow_id, "--json")

    shown = said.document
    assert (said.code, shown["status"], shown["step"], shown["progress"]) == (
        0,
        "running",
        "provisioning_app_plane",
        98,
    )
    events = [event["event_id"] for event in shown["history"]]
    assert events == list(range(1, len(events) + 1))
    assert "WorkflowExecutionStarted" in terminal("workflow", "show", waiting.workflow_id).out


def test_show_of_a_parked_one_says_where_it_waits_for_what_and_until_when(
    terminal: Terminal, company: HeardCompany, systems: Systems, key: str
) -> None:
    company.retries = dict.fromkeys(Group, Retries(3, 600, 600, 20, 3600))
    systems.fail("deploy", Pending("rollout: 0 of 1 pods", {"phase": "rollout"}, 600))
    parked = company.provision(key, plan="free")

    shown = terminal("workflow", "show", parked.workflow_id, "--json").document

    assert shown["status"] == "running"
    assert (
        shown["parked"].items()
        >= {
            "step": "deploying_application",
            "side": "do",
            "waitsFor": "rollout: 0 of 1 pods",
        }.items()
    )
    assert shown["parked"]["since"] < shown["parked"]["nextLook"]
    told = terminal("workflow", "show", parked.workflow_id).out
    assert "parked: at deploying_application since " in told
    assert "waits for: rollout: 0 of 1 pods" in told


def test_show_of_one_that_is_not_parked_says_so(terminal: Terminal, waiting: Execution) -> None:
    assert terminal("workflow", "show", waiting.workflow_id, "--json").document["parked"] is None
    assert "parked: no" in terminal("workflow", "show", waiting.workflow_id).out


def test_show_of_a_failed_one_has_the_step_and_the_way_out(
    terminal: Terminal, company: HeardCompany, systems: Systems, key: str
) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    failed = company.provision(key, plan="free")

    shown = terminal("workflow", "show", failed.workflow_id, "--json").document

    assert (shown["status"], shown["failedStep"], shown["code"]) == ("failed", "provisioning_storage", "SystemError")
    assert "PROVISION_FAILED: Failed to provision tenant storage" in shown["error"]
    assert "Way out" in shown["error"]
    assert shown["result"]["leftBehind"] == []


def test_a_signal_completes_the_workflow(terminal: Terminal, company: HeardCompany, waiting: Execution) -> None:
    said = terminal("workflow", "signal", waiting.workflow_id, "appPlaneProvisioned", "--input", '{"success": true}')

    assert said.code == 0
    assert said.out.strip() == f"appPlaneProvisioned delivered to {waiting.workflow_id}: completed"
    assert company.execution(waiting).state is State.COMPLETED


def test_a_signal_twice_is_no_error(terminal: Terminal, waiting: Execution) -> None:
    arguments = ("workflow", "signal", waiting.workflow_id, "appPlaneProvisioned", "--input", '{"success": true}')

    effects = [terminal(*arguments, "--json").document["effect"] for _ in range(2)]

    assert effects == ["completed", "no_effect"]


def test_a_cancel_by_signal(terminal: Terminal, company: HeardCompany, waiting: Execution, key: str) -> None:
    said = terminal("workflow", "signal", waiting.workflow_id, "provisioningCancelled", "--json")

    assert (said.code, said.document["effect"]) == (0, None)
    assert company.execution(waiting).state is State.CANCELLED
    assert company.tenant(key).status is Status.ACTIVE
    again = terminal("workflow", "signal", waiting.workflow_id, "provisioningCancelled")
    assert again.code == 1
    assert "is cancelled: not running" in again.err


def test_a_signal_that_is_wrong_changes_nothing(
    terminal: Terminal, admin: psycopg.Connection, waiting: Execution
) -> None:
    before = dump(admin)

    for name, payload, sentence in [
        ("appPlaneProvisioned", "{", "--input is not JSON"),
        ("appPlaneProvisioned", "[]", "--input must be a JSON object"),
        ("appPlaneProvisioned", "{}", "success: must be true or false"),
        ("appPlaneProvisioned", '{"success": true, "x": 1}', "unknown fields: 'x'"),
        ("nonsense", "{}", "Unknown signal 'nonsense'; known are appPlaneProvisioned and provisioningCancelled"),
    ]:
        said = terminal("workflow", "signal", waiting.workflow_id, name, "--input", payload, "--json")
        assert (said.code, said.out) == (2, ""), payload
        assert sentence in said.err

    assert dump(admin) == before


@pytest.mark.parametrize("command", ["show", "signal"])
def test_an_unknown_workflow(terminal: Terminal, command: str) -> None:
    more = ("provisioningCancelled",) if command == "signal" else ()

    said = terminal("workflow", command, "provision-tenant-nobody", *more)

    assert said.code == 1
    assert "There is no workflow 'provision-tenant-nobody'" in said.err


@pytest.mark.parametrize("arguments", [("workflow",), ("workflow", "show"), ("workflow", "list", "--limit", "0")])
def test_wrong_usage(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    assert terminal(*arguments).code == 2
