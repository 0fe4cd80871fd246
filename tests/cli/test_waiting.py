"""`tenant provision --wait`: comes back with the end, and its exit code says which."""

import threading
import time
from collections.abc import Callable

import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import Execution, provision_workflow_id
from tenant_pipelines.operations import signal
from tests.cli.conftest import Terminal
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany

PATIENCE = 20.0


def executed_meanwhile(company: HeardCompany, key: str) -> threading.Thread:
    """What the workers do: wait for the execution, carry it out, confirm it."""
    workflow_id = provision_workflow_id(company.create(key).id)

    def execute() -> None:
        execution = company.settle(started(lambda: company.desk.ledger.execution(workflow_id)))
        if not execution.state.closed:
            given = {"success": True}
            signal.signal(
                company.desk, execution.tenant_id, signal.CONFIRMED, given, key=str(execution.id), claimant=TESTER
            )

    thread = threading.Thread(target=execute)
    thread.start()
    return thread


def started(look: Callable[[], Execution]) -> Execution:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            return look()
        except Refused:
            time.sleep(0.01)
    raise AssertionError("nothing was started")


def test_a_completed_one(terminal: Terminal, company: HeardCompany, key: str) -> None:
    worker = executed_meanwhile(company, key)

    said = terminal("tenant", "provision", key, "--wait", str(PATIENCE), "--json")

    worker.join()
    assert said.code == 0
    assert (said.document["status"], said.document["error"]) == ("completed", None)


def test_a_failed_one(terminal: Terminal, company: HeardCompany, systems: Systems, key: str) -> None:
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=2)
    worker = executed_meanwhile(company, key)

    said = terminal("tenant", "provision", key, "--wait", str(PATIENCE))

    worker.join()
    assert said.code == 1
    assert f"Provisioning of {key} is failed: PROVISION_FAILED: Failed to deploy application" in said.out


def test_one_that_takes_longer_goes_on(terminal: Terminal, company: HeardCompany, key: str) -> None:
    company.create(key)

    said = terminal("tenant", "provision", key, "--wait", "0.05")

    assert said.code == 1
    assert "has not ended within 0.05 s" in said.err
    assert "goes on" in said.err
    assert company.tenant(key).status.name == "PROVISIONING"


@pytest.mark.parametrize("seconds", ["-1", "604801", "soon"])
def test_nobody_waits_for_ever(terminal: Terminal, key: str, seconds: str) -> None:
    assert terminal("tenant", "provision", key, "--wait", seconds).code == 2
