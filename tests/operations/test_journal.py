"""The log markers: who reads them finds every workflow's beginning and end, exactly once, with its four ids."""

import io
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from _pytest.logging import LogCaptureFixture

from tenant_pipelines import logs
from tenant_pipelines.domain.failures import Answered, ResourceAlreadyExists
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.reconcile import reconcile
from tenant_pipelines.operations.signal import signal
from tests.fakes.company import TESTER
from tests.fakes.runs import Killed
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, assert_sound

NO = Answered("It", "said no")
Way = Callable[[HeardCompany, Systems, str], Execution]


def the_hook(company: HeardCompany, systems: Systems, key: str) -> Execution:
    systems.fail("bucket", NO, times=2)
    return company.provision(key)


def the_guard(company: HeardCompany, systems: Systems, key: str) -> Execution:
    company.runs.hooks = False
    return company.settle(the_hook(company, systems, key))


def a_failing_undo(company: HeardCompany, systems: Systems, key: str) -> Execution:
    company.undo_retry_for = 0.01
    systems.fail("remove schema", NO, times=99)
    return company.settle(the_hook(company, systems, key))


def past_the_pivot(company: HeardCompany, systems: Systems, key: str) -> Execution:
    systems.fail("customer", NO, times=2)
    return company.provision(key)


def bad_news(company: HeardCompany, systems: Systems, key: str) -> Execution:
    execution = company.provision(key)
    payload = {"success": False, "error": "no room"}
    signal(company.desk, execution.tenant_id, "appPlaneProvisioned", payload, key="1", claimant=TESTER)
    signal(company.desk, execution.tenant_id, "appPlaneProvisioned", payload, key="2", claimant=TESTER)
    return company.execution(execution)


def early_bad_news(company: HeardCompany, systems: Systems, key: str) -> Execution:
    def early(seen: str) -> None:
        if seen == "bucket":
            tenant = company.tenant(key)
            signal(company.desk, tenant.id, "appPlaneProvisioned", {"success": False}, key="1", claimant=TESTER)

    systems.before = early
    return company.provision(key)


def lost_workers(company: HeardCompany, systems: Systems, key: str) -> Execution:
    return dying_at("bucket", company, systems, key)


def lost_workers_past_the_pivot(company: HeardCompany, systems: Systems, key: str) -> Execution:
    return dying_at("customer", company, systems, key)


def dying_at(operation: str, company: HeardCompany, systems: Systems, key: str) -> Execution:
    def die(seen: str) -> None:
        if seen == operation:
            raise Killed

    systems.before = die
    return company.settle(company.provision(key))


WAYS = [
    the_hook,
    the_guard,
    a_failing_undo,
    past_the_pivot,
    bad_news,
    early_bad_news,
    lost_workers,
    lost_workers_past_the_pivot,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_failed_execution_is_said_once(company: HeardCompany, systems: Systems, key: str, way: Way) -> None:
    execution = way(company, systems, key)

    closed = assert_sound(company, execution)
    assert closed.state is State.FAILED
    failures = [line for line in company.heard if line.marker is Marker.FAIL]
    assert [(line.run_id, line.step, line.text) for line in failures] == [(closed.id, closed.failed_step, closed.error)]
    assert company.heard[0].marker is Marker.START
    assert [line.marker for line in company.heard].count(Marker.START) == 1


def test_two_who_see_the_same_lost_worker_say_it_once(company: HeardCompany, systems: Systems, key: str) -> None:
    """The sensor for failed runs and the guard may look at the same execution at the same time."""
    seen: list[Execution] = []
    company.runs.hooks = False

    def die(operation: str) -> None:
        if operation == "customer":
            seen.append(company.desk.ledger.executions(limit=1)[0])
            raise Killed

    systems.before = die
    company.settle(company.provision(key))

    for stale in seen:
        reconcile(company.desk, stale, by="run_failed")

    assert [line.marker for line in company.heard].count(Marker.FAIL) == 1
    assert_sound(company, seen[0])


def test_a_run_that_has_failed_and_said_so_is_not_said_to_be_lost(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    read_before: list[Execution] = []
    systems.before = lambda _: read_before.append(company.desk.ledger.executions(limit=1)[0])
    execution = past_the_pivot(company, systems, key)

    assert reconcile(company.desk, read_before[-1], by="run_failed") == "continue"

    assert [line.marker for line in company.heard].count(Marker.FAIL) == 1
    assert assert_sound(company, execution).error_code == "SystemError"


def test_every_line_has_its_four_ids(company: HeardCompany, systems: Systems, key: str) -> None:
    execution = a_failing_undo(company, systems, key)

    for line in company.heard:
        assert (line.tenant_id, line.workflow_id, line.run_id) == (
            execution.tenant_id,
            execution.workflow_id,
            execution.id,
        )
        assert (line.step is None) == (line.marker is Marker.START)
    steps = [line.step for line in company.heard if line.marker is Marker.STEP]
    assert steps[:3] == ["updating_status", "creating_idp_organization", "creating_admin_user"]


@pytest.fixture
def stream(company: HeardCompany, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the product's own journal writes, as JSON."""
    logger, written = logging.getLogger(logs.NAME), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(written)])
    monkeypatch.setattr(logger, "level", logging.INFO)
    company.journal = journal = logs.journal("json", None)  # type: ignore[assignment]
    company.desk = company.runs.desk = replace(company.desk, journal=journal)
    return written


def test_production_writes_json_with_the_four_ids_on_one_line_each(
    company: HeardCompany, systems: Systems, key: str, stream: io.StringIO
) -> None:
    systems.fail("bucket", ResourceAlreadyExists("S3", "bucket is taken", way_out="take another\nkey"))
    execution = company.provision(key)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    for line in lines:
        assert UUID(line["tenantId"]) == execution.tenant_id
        assert UUID(line["runId"]) == execution.id
        assert line["workflowId"] == execution.workflow_id
        assert line["step"]
        assert line["timestamp"].endswith("Z")
        assert line["event"].startswith("[FLOW_")
    failed = [line for line in lines if line["event"].startswith("[FLOW_FAIL]")]
    assert [(line["level"], line["step"]) for line in failed] == [("error", "provisioning_storage")]
    assert "Way out: take another key" in failed[0]["event"]


def test_text_is_one_line_each_too_whatever_an_outside_system_says(
    company: HeardCompany, systems: Systems, key: str, stream: io.StringIO
) -> None:
    company.journal = journal = logs.journal("text", None)  # type: ignore[assignment]
    company.desk = company.runs.desk = replace(company.desk, journal=journal)
    systems.fail("bucket", ResourceAlreadyExists("S3", "is taken\n[FLOW_COMPLETE] forged\r\x1b[2K"))
    execution = company.provision(key)

    lines = stream.getvalue().splitlines()

    assert all(str(execution.id) in line and execution.workflow_id in line for line in lines)
    assert not any(line.startswith("[FLOW_COMPLETE]") for line in lines)
    assert "\x1b" not in stream.getvalue()


def test_nothing_of_the_connection_is_logged(
    company: HeardCompany, systems: Systems, key: str, stream: io.StringIO, caplog: LogCaptureFixture
) -> None:
    a_failing_undo(company, systems, key)

    everything = stream.getvalue() + caplog.text
    assert "control-plane-of-a-test" not in everything
    assert psycopg.conninfo.conninfo_to_dict(company.database._url)["password"] == "control-plane-of-a-test"
