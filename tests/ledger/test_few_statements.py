"""What a step costs: few statements, each of which says all that there is to say."""

from itertools import groupby
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tenant_pipelines.domain.outcomes import Created, ObjectRef
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import Execution, Side
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.ledger import Begun
from tenant_pipelines.saga.outcomes import Done
from tests.fakes.company import TESTER
from tests.operations.stage import HeardCompany, all_of, new_key

FIRST, SECOND, *_ = PROVISIONING.steps
BUCKET = ObjectRef("s3", "bucket", "bucket", "1")
MADE = Done([Created(BUCKET)], facts={"bucket": "1"}, metadata={"storageBucket": "bucket"})


def claimed(company: HeardCompany) -> Execution:
    tenant = company.create(new_key(), plan="free")
    return company.desk.ledger.claim_provision(tenant.id, version=1, claimant=TESTER, given={})


def test_a_run_begins_its_first_step_under_a_lock(company: HeardCompany, asked: list[str]) -> None:
    execution = claimed(company)
    asked.clear()

    company.engine_of(execution.id, execution.tenant_id).forward(FIRST, lambda _: None)

    assert asked == ["lock_execution_of_run", "step_to_begin", "begin_step", "finish_attempt"]


def test_a_later_step_is_begun_in_two_statements_and_finished_in_one(company: HeardCompany, asked: list[str]) -> None:
    execution = claimed(company)
    engine = company.engine_of(execution.id, execution.tenant_id)
    engine.forward(FIRST, lambda _: None)
    asked.clear()

    engine.forward(SECOND, lambda _: None)

    assert [name for name, _ in groupby(asked)] == ["step_to_begin", "begin_step", "standing_of_run", "finish_attempt"]


def test_a_claim_takes_three_statements(company: HeardCompany, asked: list[str]) -> None:
    tenant = company.create(new_key(), plan="free")
    asked.clear()

    company.desk.ledger.claim_provision(tenant.id, version=1, claimant=TESTER, given={})

    assert asked == ["lock_tenant", "running_execution_of_tenant", "claim_provision"]


def test_a_run_that_may_no_longer_act_finishes_nothing(company: HeardCompany, admin: psycopg.Connection) -> None:
    execution, ledger, begun = _begun(company)
    before = _everything(admin, execution)
    admin.execute("update engine.executions set run_id = %s where id = %s", [uuid4(), execution.id])

    with pytest.raises(Refused, match="acts for workflow"):
        ledger.finish(FIRST, begun.attempt, MADE)

    assert _everything(admin, execution) == before


def test_what_is_finished_twice_is_recorded_once(company: HeardCompany, admin: psycopg.Connection) -> None:
    execution, ledger, begun = _begun(company)
    ledger.finish(FIRST, begun.attempt, MADE)
    once = _everything(admin, execution)

    ledger.finish(FIRST, begun.attempt, MADE)

    assert _everything(admin, execution) == once
    steps, attempts, history, metadata = once
    assert [(row["state"], row["facts"], row["found"][0]["name"]) for row in steps] == [
        ("done", {"bucket": "1"}, "bucket")
    ]
    assert [(row["number"], row["outcome"]) for row in attempts] == [(1, "done")]
    assert [(row["event_id"], row["type"], row["attempt"]) for row in history] == [
        (1, "WorkflowExecutionStarted", None),
        (2, "ActivityTaskStarted", 1),
        (3, "ActivityTaskCompleted", 1),
    ]
    assert metadata["storageBucket"] == "bucket"


def test_a_step_that_is_begun_again_has_another_attempt(company: HeardCompany, admin: psycopg.Connection) -> None:
    execution, ledger, begun = _begun(company)

    again = ledger.begin(FIRST, Side.DO, lambda _: {"bucket": "another"})

    assert isinstance(again, Begun)
    assert (begun.attempt, again.attempt) == (1, 2)
    assert again.started_at == begun.started_at
    assert again.placement == begun.placement == {"bucket": "b"}  # a name once recorded stays
    _, attempts, history, _ = _everything(admin, execution)
    assert [row["number"] for row in attempts] == [1, 2]
    assert [row["event_id"] for row in history] == [1, 2, 3]


def _begun(company: HeardCompany) -> tuple[Execution, RunLedger, Begun]:
    execution = claimed(company)
    ledger = company.engine_of(execution.id, execution.tenant_id).ledger
    assert isinstance(ledger, RunLedger)
    begun = ledger.begin(FIRST, Side.DO, lambda _: {"bucket": "b"})
    assert isinstance(begun, Begun)
    return execution, ledger, begun


def _everything(admin: psycopg.Connection, execution: Execution) -> list[Any]:
    """What the ledger has of the execution's steps, attempts and history, and the tenant's metadata."""
    of_execution = "select to_jsonb(x) from engine.{} x where execution_id = %s order by 1"
    tables = [
        [row for (row,) in all_of(admin, of_execution.format(table), execution.id)] for table in ("steps", "attempts")
    ]
    history = "select to_jsonb(x) from engine.history x where execution_id = %s order by event_id"
    metadata = "select metadata from tenant_management.tenants where id = %s"
    [(of_tenant,)] = all_of(admin, metadata, execution.tenant_id)
    return [*tables, [row for (row,) in all_of(admin, history, execution.id)], of_tenant]
