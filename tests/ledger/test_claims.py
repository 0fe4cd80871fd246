"""Who may act for a tenant: one at a time, whatever door it came through; and nobody who is late."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import repeat
from typing import TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, Side, State
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.operations.reconcile import reconcile, roll_back
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.ledger import Begun
from tenant_pipelines.saga.outcomes import Done
from tenant_pipelines.saga.step import Step
from tests.fakes.company import TESTER
from tests.fakes.systems import RULES, Systems
from tests.operations.stage import HeardCompany, all_of, audit, dump

Answer = TypeVar("Answer")
FIRST = PROVISIONING.steps[0]
SECOND = PROVISIONING.steps[1]


def at_once(calls: Iterator[Callable[[], Answer]], count: int) -> tuple[list[Answer], list[Refused]]:
    """Make that many calls, each in its thread, all let go at the same moment."""
    barrier = threading.Barrier(count)
    answers: list[Answer] = []
    refusals: list[Refused] = []

    def make(call: Callable[[], Answer]) -> None:
        barrier.wait(timeout=20)
        try:
            answers.append(call())
        except Refused as refused:
            refusals.append(refused)

    threads = [threading.Thread(target=make, args=(next(calls),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers, refusals


def run_ledger(company: HeardCompany, run_id: UUID, tenant_id: UUID) -> RunLedger:
    ledger = company.engine_of(run_id, tenant_id).ledger
    assert isinstance(ledger, RunLedger)
    return ledger


def begin(ledger: RunLedger, side: Side = Side.DO) -> object:
    step = FIRST if side is Side.DO else SECOND
    return ledger.begin(step, side, lambda tenant: step.names(tenant, RULES))


def started(company: HeardCompany, key: str) -> Execution:
    """An execution whose run has not come to life."""
    company.runs.lost_launches = 99
    return start(company.desk, company.create(key).id, TESTER)


def test_fifty_starts_at_once_make_one_execution(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    tenant = company.create(key)
    company.runs.lost_launches = 99

    won, refused = at_once(repeat(lambda: start(company.desk, tenant.id, TESTER)), 50)

    assert len(won) == 1
    assert {refusal.code for refusal in refused} == {Code.BUSY}
    assert len(refused) == 49
    assert all(str(won[0].id) in refusal.message for refusal in refused)
    assert all_of(admin, "select id, generation from engine.executions where tenant_id = %s", tenant.id) == [
        (won[0].id, 1)
    ]
    assert [row[2] for row in audit(admin, tenant.id)] == ["create_tenant", "start"]
    assert [event["type"] for event in company.desk.ledger.history(won[0].id)] == ["WorkflowExecutionStarted"]
    assert company.tenant(key).status is Status.PROVISIONING


def test_fifty_launches_from_the_ui_at_once_make_one_execution(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    tenant = company.create(key)
    runs = [uuid4() for _ in range(50)]
    ledgers = (run_ledger(company, run_id, tenant.id) for run_id in runs)

    won, refused = at_once((partial(begin, ledger) for ledger in ledgers), 50)

    assert len(won) == 1
    assert isinstance(won[0], Begun)
    assert [refusal.code for refusal in refused] == [Code.BUSY] * 49
    winner = won[0].execution
    assert winner.id in runs
    assert all_of(admin, "select run_id from engine.runs where execution_id = %s", winner.id) == [(winner.id,)]
    assert [row[:3] for row in audit(admin, tenant.id)][1:] == [("dagster-ui", "dagster-ui", "start")]


def test_a_start_and_a_launch_from_the_ui_exclude_each_other(company: HeardCompany, key: str) -> None:
    execution = started(company, key)

    with pytest.raises(Refused) as refused:
        begin(run_ledger(company, uuid4(), execution.tenant_id))

    assert refused.value.code is Code.BUSY


def test_a_loser_changes_nothing(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = started(company, key)
    before = dump(admin)

    with pytest.raises(Refused):
        start(company.desk, execution.tenant_id, TESTER)
    with pytest.raises(Refused):
        begin(run_ledger(company, uuid4(), execution.tenant_id))

    assert dump(admin) == before


def test_one_of_eight_claims_a_rollback(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    company.runs.hooks = False
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    due = company.provision(key)
    assert due.state is State.ROLLBACK_DUE
    company.runs.lost_launches = 99

    claimed, refused = at_once(repeat(lambda: roll_back(company.desk, due, by="guard")), 8)

    assert sorted(claimed) == [False] * 7 + [True]
    assert refused == []
    kinds = all_of(admin, "select kind, number from engine.runs where execution_id = %s order by number", due.id)
    assert kinds == [("forward", 1), ("rollback", 2)]
    company.runs.lost_launches = 0
    assert company.settle(due).state is State.FAILED


def test_one_of_eight_replaces_a_lost_run(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = started(company, key)

    replaced, _ = at_once(repeat(lambda: company.desk.ledger.replace_lost_run(execution, PROVISIONING)), 8)

    going_on = [one for one in replaced if one is not None]
    assert len(going_on) == 1
    assert all_of(admin, "select count(*) from engine.runs where execution_id = %s", execution.id) == [(2,)]


def writes(ledger: RunLedger, side: Side) -> list[Callable[[], object]]:
    """Everything by which a run could write to the ledger or let itself be let out into the world."""
    step = FIRST if side is Side.DO else SECOND
    both = [
        lambda: begin(ledger, side),
        lambda: ledger.fence(side),
        lambda: ledger.next_attempt(step, side),
        lambda: ledger.wait(step, side, "waiting", {}),
    ]
    if side is Side.DO:
        failure = Answered("S3", "said no")
        return [
            *both,
            lambda: ledger.finish(step, 99, Done()),
            lambda: ledger.fail(step, failure, "error"),
            lambda: ledger.stop_for_cancel(step),
        ]
    return [
        *both,
        lambda: ledger.undone(step, 99),
        lambda: ledger.undo_failed(step, Answered("S3", "said no"), "error", []),
        ledger.undo_report,
        lambda: ledger.rollback_again_at(datetime.now(UTC), "because"),
        ledger.close_rollback,
    ]


def refused_everywhere(company: HeardCompany, admin: psycopg.Connection, ledger: RunLedger, sentence: str) -> None:
    before, lines = dump(admin), list(company.heard)
    for side in Side:
        for write in writes(ledger, side):
            with pytest.raises(Refused, match=sentence):
                write()
    assert dump(admin) == before
    assert company.heard == lines


def test_a_replaced_run_may_do_nothing_more(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = started(company, key)
    ledger = run_ledger(company, execution.id, execution.tenant_id)
    begin(ledger)
    assert company.desk.ledger.replace_lost_run(execution, PROVISIONING) is not None

    refused_everywhere(company, admin, ledger, "acts for workflow .* now, not this one")


def test_a_run_of_a_closed_execution_may_do_nothing_more(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    closed = company.settle(company.provision(key))

    ledger = run_ledger(company, closed.id, closed.tenant_id)
    refused_everywhere(company, admin, ledger, "is failed: nothing may act for it any more")


def test_a_run_of_an_old_generation_may_do_nothing_while_a_new_one_runs(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    old = company.settle(company.provision(key))
    company.runs.lost_launches = 99
    new = start(company.desk, old.tenant_id, TESTER)
    assert (new.generation, new.workflow_id) == (old.generation + 1, old.workflow_id)

    refused_everywhere(company, admin, run_ledger(company, old.id, old.tenant_id), "nothing may act for it any more")


def test_a_run_launched_for_another_tenant_may_do_nothing(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    execution = started(company, key)

    ledger = run_ledger(company, execution.id, uuid4())
    refused_everywhere(company, admin, ledger, "was recorded for another tenant")
    with pytest.raises(Refused) as refused:
        ledger.fence(Side.DO)
    assert key not in refused.value.message


def test_the_forward_side_is_closed_to_a_rollback_and_the_other_way_round(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    company.runs.hooks = False
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    due = company.provision(key)

    with pytest.raises(Refused, match="this side may not act"):
        run_ledger(company, due.id, due.tenant_id).fence(Side.DO)


@pytest.mark.parametrize("step", PROVISIONING.steps[1:], ids=lambda step: step.name)
def test_a_run_that_nobody_knows_claims_nothing_but_from_the_first_step(
    company: HeardCompany, admin: psycopg.Connection, key: str, step: Step
) -> None:
    tenant = company.create(key)
    before = dump(admin)
    ledger = run_ledger(company, uuid4(), tenant.id)

    for side in Side:
        with pytest.raises(Refused, match="a workflow begins with its first step") as refused:
            ledger.begin(step, side, lambda tenant: {})
        assert refused.value.code is Code.WRONG_STATE

    assert dump(admin) == before


def test_no_step_is_jumped_over(company: HeardCompany, key: str) -> None:
    execution = started(company, key)
    ledger = run_ledger(company, execution.id, execution.tenant_id)
    begin(ledger)

    with pytest.raises(Refused, match="only 0 of the 2 steps before it are done"):
        ledger.begin(PROVISIONING.steps[2], Side.DO, lambda tenant: {})


def test_a_zombies_report_of_a_lost_call_is_kept_and_disturbs_nobody(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    execution = started(company, key)
    zombie = run_ledger(company, execution.id, execution.tenant_id)
    begun = begin(zombie)
    assert isinstance(begun, Begun)
    replaced = company.desk.ledger.replace_lost_run(execution, PROVISIONING)
    assert replaced is not None
    heir = run_ledger(company, replaced.run_id, execution.tenant_id)
    begin(heir)
    heir.wait(FIRST, Side.DO, "waiting", {"run": "1"})

    zombie.end_attempt(FIRST, Side.DO, begun.attempt, Answered("S3", "said no", lost=True))

    row = all_of(admin, "select answered, token, error, lost from engine.steps where execution_id = %s", execution.id)
    assert row == [(0, {"run": "1"}, None, True)]
    assert all_of(admin, "select sweep_until > now() from engine.executions where id = %s", execution.id) == [(True,)]


def test_a_rollback_waits_for_its_time(company: HeardCompany, systems: Systems, key: str) -> None:
    company.undo_retry_every = 3600
    systems.fail("deploy", Answered("Kubernetes", "said no"), times=2)
    systems.fail("remove bucket", Answered("S3", "said no"), times=2)
    execution = company.provision(key)
    assert execution.state is State.ROLLING_BACK
    assert execution.next_undo_at is not None

    assert reconcile(company.desk, execution, by="guard") == "nothing"
    assert company.desk.ledger.claim_rollback(execution.id, by="guard") is None
    assert execution.next_undo_at - execution.started_at > timedelta(minutes=59)
