"""Retention over a real ledger: what goes, what stays, and that a pass may end anywhere."""

import signal as signals
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.retention import Bounds, Kind
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.ledger import retirement
from tenant_pipelines.ledger.archive import Archive
from tenant_pipelines.ledger.retirement import Retirement
from tenant_pipelines.operations import looking
from tenant_pipelines.operations.retention import EndedRun, Report, may_go
from tenant_pipelines.operations.start import start
from tenant_pipelines.operations.sweep import sweep
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.past import (
    AGES,
    DAY,
    NOTHING,
    OF_EXECUTION,
    PERSON,
    Later,
    Runs,
    archived,
    completed,
    documents,
    everything_of,
    failed,
    failed_twice_then_completed,
    is_gone,
    passed,
    rows_of,
    with_people,
)
from tests.operations.stage import HeardCompany, all_of, audit, dump, new_key


def test_a_gone_tenants_executions_move_to_the_archive_as_they_were(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    before, acts = documents(admin, executions), audit(admin, executions[0].tenant_id)
    assert len(before) == 3
    assert all(before[one.id]["attempts"] and before[one.id]["history"] for one in executions)

    report = passed(company, 91)

    assert report.finished
    assert archived(admin, executions) == before
    assert documents(admin, executions) == {}
    assert [rows_of(admin, one) for one in executions] == [{}, {}, {}]
    assert audit(admin, executions[0].tenant_id) == acts


def test_nothing_younger_than_its_time_is_touched(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    before = dump(admin)

    assert passed(company, 89.9).counts.get(Kind.ARCHIVED, 0) == 0
    assert passed(company, 10_000, ages=NOTHING).counts == {}

    assert [dump(admin)[f"engine.{table}"] for table in OF_EXECUTION] == [
        before[f"engine.{table}"] for table in OF_EXECUTION
    ]
    assert len(documents(admin, executions)) == 3


def test_a_living_tenant_keeps_its_executions_with_their_steps_and_all_of_the_newest(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    before = documents(admin, executions)

    passed(company, 300)

    after = documents(admin, executions)
    newest = executions[2]
    assert after[newest.id] == before[newest.id]
    for older in executions[:2]:
        assert after[older.id]["steps"] == before[older.id]["steps"]
        assert after[older.id]["runs"] == before[older.id]["runs"]
        assert {**after[older.id]["execution"], "thinned_at": None} == before[older.id]["execution"]
        assert rows_of(admin, older).keys() == {"runs", "steps"}
        assert archived(admin, [older])[older.id] == before[older.id]
    assert passed(company, 300).counts.get(Kind.THINNED, 0) == 0


def test_what_was_thinned_and_then_archived_is_complete(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    before = documents(admin, executions)
    passed(company, 91)
    is_gone(admin, executions[0])

    passed(company, 92)

    after = archived(admin, executions)
    for one in executions:
        after[one.id]["execution"]["thinned_at"] = None
    assert after == before
    assert documents(admin, executions) == {}


def test_a_thinned_tenant_can_be_provisioned_and_rolled_back_again(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    first = failed(company, systems, key)
    failed(company, systems, key, again=first)
    passed(company, 91)

    third = failed(company, systems, key, again=first)

    assert third.generation == 3
    assert systems.of(key) == set()
    fourth = company.execution(start(company.desk, first.tenant_id, TESTER))
    assert company.desk.ledger.tenant(first.tenant_id).status is Status.ACTIVE
    assert fourth.generation == 4


def test_an_open_execution_is_never_touched_however_old(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    old = failed(company, systems, key)
    waiting = company.execution(start(company.desk, old.tenant_id, TESTER))
    assert waiting.closed_at is None
    before = documents(admin, [waiting])
    # What a deprovisioning at its last step looks like: the tenant is gone, and its execution still runs.
    with psycopg.connect(admin.info.dsn, password=admin.info.password) as engine:
        engine.execute("set session_replication_role = replica")
        engine.execute("update tenant_management.tenants set status = 8 where id = %s", [old.tenant_id])

    passed(company, 10_000)

    assert documents(admin, [waiting]) == before
    assert documents(admin, [old]) == {}


def test_what_is_left_behind_keeps_its_execution_until_somebody_has_seen_to_it(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    company.undo_retry_for = 0.0
    systems.fail("remove organization", Answered("Keycloak", "said no"), times=100)
    execution = failed(company, systems, key)
    systems.script.clear()
    assert company.desk.ledger.left_behind(execution.tenant_id)
    is_gone(admin, execution)
    before = documents(admin, [execution])

    passed(company, 10_000)

    assert documents(admin, [execution]) == before
    admin.execute("update engine.left_behind set resolved_at = now() where tenant_id = %s", [execution.tenant_id])
    passed(company, 91)
    assert [row["resolved_at"] is None for row in archived(admin, [execution])[execution.id]["left_behind"]] == [False]


def test_a_brought_back_tenant_never_uses_a_generation_again(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    passed(company, 91)
    admin.execute("update tenant_management.tenants set status = 1 where id = %s", [executions[0].tenant_id])

    assert start(company.desk, executions[0].tenant_id, TESTER).generation == 4


@pytest.mark.parametrize("archived_first", [False, True], ids=["in place", "in the archive"])
def test_personal_data_of_a_gone_tenant_is_hidden_when_its_time_is_over(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str, archived_first: bool
) -> None:
    execution = failed(company, systems, key)
    with_people(admin, execution)
    is_gone(admin, execution)
    before = documents(admin, [execution])[execution.id]
    if archived_first:
        passed(company, 91)
    assert "Lovelace" in everything_of(admin, execution)

    ages = AGES if archived_first else replace(AGES, executions=0)
    passed(company, 364, ages=ages)
    assert "Lovelace" in everything_of(admin, execution)
    report = passed(company, 366, ages=ages)

    text = everything_of(admin, execution)
    assert [word for word in ("Ada", "Lovelace", "@acme", "0800-4711-00", f"admin@{key}") if word in text] == []
    assert report.counts[Kind.DOCUMENTS_REDACTED if archived_first else Kind.REDACTED] == 1
    [after] = (archived if archived_first else documents)(admin, [execution]).values()
    assert [(row["event_id"], row["type"], row["at"]) for row in after["history"]] == [
        (row["event_id"], row["type"], row["at"]) for row in before["history"]
    ]
    assert after["signals"][0]["received_by"] == "ops@us.example"  # who acted is kept, as in the audit
    contacts = all_of(
        admin,
        "select first_name, last_name, email from tenant_management.contacts where tenant_id = %s",
        execution.tenant_id,
    )
    assert contacts == [("", "", "[redacted]")]
    tenant = company.desk.ledger.tenant(execution.tenant_id)
    assert "provisioningError" not in tenant.metadata
    assert passed(company, 367, ages=ages).counts == {}


def test_a_living_tenants_newest_execution_and_contacts_keep_what_they_need(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    older = failed(company, systems, key)
    newest = failed(company, systems, key, again=older)
    for one in (older, newest):
        with_people(admin, one)
    before = documents(admin, [newest])

    passed(company, 10_000)

    assert documents(admin, [newest]) == before
    assert "Lovelace" not in everything_of(admin, older)
    assert company.desk.ledger.tenant(older.tenant_id).contacts[0].email == PERSON[2]


def test_the_people_of_a_gone_tenant_are_known_until_no_text_speaks_of_them_any_more(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    execution = failed(company, systems, key)
    with_people(admin, execution)
    is_gone(admin, execution, since=1000)

    passed(company, 364)  # the tenant has been gone for long enough, its execution is too young

    assert company.desk.ledger.tenant(execution.tenant_id).contacts[0].email == PERSON[2]


def test_junk_in_a_tenants_metadata_does_not_stop_a_pass(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    execution = failed(company, systems, key)
    admin.execute(
        "update tenant_management.tenants set status = 8 where id = %s",
        [execution.tenant_id],
    )
    admin.execute(
        'update tenant_management.tenants set metadata = \'{"lastStatusUpdate": {"no": "time"}}\' where id = %s',
        [execution.tenant_id],
    )

    assert passed(company, 400).errors == ()


def test_documents_of_gone_tenants_are_dropped_and_those_of_living_ones_stay(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    gone = failed_twice_then_completed(company, systems, new_key())
    living = failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, gone[0])
    ages = replace(AGES, archive=100 * DAY)
    passed(company, 99, ages=ages)
    assert len(archived(admin, gone)) == 3

    passed(company, 101, ages=ages)

    assert archived(admin, gone) == {}
    assert len(archived(admin, living)) == 2


def test_launches_that_have_ended_are_removed_and_no_others(company: HeardCompany, admin: psycopg.Connection) -> None:
    old, young, lost, queued = (uuid4() for _ in range(4))
    for run_id, state, days in ((old, "ended", 8), (young, "ended", 6), (lost, "lost", 0), (queued, "queued", 0)):
        admin.execute(
            "insert into engine.launches (run_id, job, state, queued_at, ended_at, lease, pool, worker_pid)"
            " values (%(id)s, 'j', %(state)s, now() - interval '1 year',"
            "         case when %(state)s = 'ended' then now() - make_interval(days => %(days)s) end, 1, %(id)s, 1)",
            {"id": run_id, "state": state, "days": days},
        )

    assert passed(company, 0).counts == {Kind.LAUNCHES: 1}

    left = {row[0] for row in all_of(admin, "select run_id from engine.launches")}
    assert left >= {young, lost, queued}
    assert old not in left
    admin.execute("delete from engine.launches")


def test_a_dry_run_counts_what_a_pass_then_does_and_changes_nothing(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    thinned = failed_twice_then_completed(company, systems, new_key())
    passed(company, 100)
    gone = [failed_twice_then_completed(company, systems, new_key()) for _ in range(3)]
    for executions in gone[:2]:
        with_people(admin, executions[0])
        is_gone(admin, executions[0])
    passed(company, 100)  # archived
    is_gone(admin, gone[2][0])
    is_gone(admin, thinned[0])
    failed_twice_then_completed(company, systems, new_key())
    for ages in (AGES, replace(AGES, archive=370 * DAY), replace(AGES, executions=0)):
        before = dump(admin)
        planned = [passed(company, 366, ages=ages, dry=True) for _ in range(2)]

        assert dump(admin) == before
        done = passed(company, 366, ages=ages)
        assert {k: v for k, v in done.counts.items() if v} == {k: v for k, v in planned[0].counts.items() if v}
        assert planned[0].counts == planned[1].counts
        assert done.finished
        again = passed(company, 366, ages=ages)
        assert sum(again.counts.values()) == 0
    assert passed(company, 371, ages=replace(AGES, archive=370 * DAY)).counts[Kind.DOCUMENTS_DROPPED] > 0


def test_a_dry_run_with_everything_in_it_counts_every_kind(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    executions = failed_twice_then_completed(company, systems, new_key())
    with_people(admin, executions[0])
    failed_twice_then_completed(company, systems, new_key())
    archived_before = failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, archived_before[0])
    passed(company, 91)
    failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, executions[0])
    admin.execute(
        "insert into engine.launches (run_id, job, state, ended_at) values (gen_random_uuid(), 'j', 'ended', now())"
    )
    ages = replace(AGES, archive=380 * DAY)
    old = [EndedRun(uuid4(), None, datetime.now(UTC))]

    planned = passed(company, 381, ages=ages, dry=True, runs=Runs(list(old)))
    done = passed(company, 381, ages=ages, runs=Runs(list(old)))

    assert {kind for kind in Kind if planned.counts[kind]} == set(Kind)
    assert done.counts == planned.counts


def test_a_pass_is_bounded_and_the_next_one_goes_on(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    executions = [one for _ in range(2) for one in failed_twice_then_completed(company, systems, new_key())]
    is_gone(admin, executions[0])
    is_gone(admin, executions[3])
    before = documents(admin, executions)
    bounds = Bounds(batch=2, at_most=4)
    planned = passed(company, 91, bounds=bounds, dry=True)

    reports = [passed(company, 91, bounds=bounds)]
    while not reports[-1].finished:
        reports.append(passed(company, 91, bounds=bounds))

    assert planned.counts == reports[0].counts
    assert all(sum(report.counts.values()) <= 4 for report in reports)
    assert len(reports) >= 2
    assert archived(admin, executions) == before


def test_a_pass_ends_when_its_time_is_over(company: HeardCompany, systems: Systems, admin: psycopg.Connection) -> None:
    executions = failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, executions[0])

    def hurried(ticks: float) -> Report:
        ledger = Retirement(company.database, by=TESTER)
        return sweep(ledger, Runs(), AGES, Bounds(batch=1, seconds=60), Later(91, ticks=ticks), dry=False)

    report = hurried(61)
    assert (report.finished, report.counts) == (False, {})
    while not (report := hurried(7)).finished:
        assert sum(report.counts.values()) < 9
    assert len(archived(admin, executions)) == 3


CHILD = """
import sys
from tenant_pipelines.domain.retention import Ages, Bounds
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.retirement import Retirement
from tenant_pipelines.operations.sweep import sweep
from tests.fakes.company import TESTER
from tests.operations.past import AGES, Later, Runs
database = Database(sys.argv[1])
sweep(Retirement(database, by=TESTER), Runs(), AGES, Bounds(batch=1), Later(float(sys.argv[2])), dry=False)
"""


@contextmanager
def killed_while_it_waits_for(admin: psycopg.Connection, dsn: str, days: float, row: str) -> Iterator[None]:
    """A pass in a process of its own that is killed in the middle of a transaction. `row`: held until then."""
    with psycopg.connect(admin.info.dsn, password=admin.info.password) as holder:
        assert holder.execute(row.encode()).fetchone()
        process = subprocess.Popen([sys.executable, "-c", CHILD, dsn, str(days)])
        try:
            until = time.monotonic() + 20
            waiting = "select count(*) from pg_locks l where not granted and %s = any(pg_blocking_pids(pid))"
            while all_of(admin, waiting, holder.info.backend_pid) == [(0,)]:
                assert time.monotonic() < until
                assert process.poll() is None
        finally:
            process.send_signal(signals.SIGKILL)
            process.wait(10)
        yield
    until = time.monotonic() + 20  # until the server has heard of it
    while all_of(
        admin,
        "select count(*) from pg_locks l join pg_stat_activity a using (pid) where a.usename ="
        " 'control_plane' and a.query ~ '^(delete|insert|update)' and a.state <> 'idle'",
    ) != [(0,)]:
        assert time.monotonic() < until


@pytest.mark.parametrize("table", ["attempts", "steps", "runs"])
def test_a_pass_that_was_killed_anywhere_is_finished_by_the_next_one(
    company: HeardCompany, control_plane: str, systems: Systems, admin: psycopg.Connection, table: str
) -> None:
    executions = failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, executions[0])
    before = documents(admin, executions)
    held = f"select 1 from engine.{table} where execution_id = '{executions[1].id}' for update"

    with killed_while_it_waits_for(admin, control_plane, 91, held):
        assert archived(admin, executions) == {executions[0].id: before[executions[0].id]}
        assert documents(admin, executions) == {one.id: before[one.id] for one in executions[1:]}
    passed(company, 91)

    assert archived(admin, executions) == before
    assert documents(admin, executions) == {}


def test_a_redaction_that_was_killed_is_finished_by_the_next_pass(
    company: HeardCompany, control_plane: str, systems: Systems, admin: psycopg.Connection
) -> None:
    executions = failed_twice_then_completed(company, systems, new_key())
    with_people(admin, executions[0])
    with_people(admin, executions[1])
    is_gone(admin, executions[0])
    held = f"select 1 from engine.history where execution_id = '{executions[1].id}' for update"
    before = everything_of(admin, executions[1])

    with killed_while_it_waits_for(admin, control_plane, 366, held):
        assert "Lovelace" not in everything_of(admin, executions[0])
        assert everything_of(admin, executions[1]) == before
    passed(company, 366)

    assert "Lovelace" not in "".join(everything_of(admin, one) for one in executions)


def test_two_passes_at_once_do_everything_once(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    executions = [one for _ in range(4) for one in failed_twice_then_completed(company, systems, new_key())]
    for one in executions[::3]:
        is_gone(admin, one)
    before = documents(admin, executions)
    reports: list[Report] = []
    together = threading.Barrier(2)

    def run() -> None:
        together.wait(10)
        reports.append(passed(company, 91, bounds=Bounds(batch=1)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert sum(report.counts[Kind.ARCHIVED] for report in reports) == 12
    assert [report.errors for report in reports] == [(), ()]
    assert archived(admin, executions) == before


def test_what_somebody_else_holds_is_left_to_the_next_pass(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    with psycopg.connect(admin.info.dsn, password=admin.info.password) as holder:
        holder.execute("select from engine.executions where id = %s for update", [executions[1].id])
        passed(company, 91)
        assert archived(admin, executions).keys() == {executions[0].id, executions[2].id}

    passed(company, 91)

    assert len(archived(admin, executions)) == 3


def test_a_tenant_that_is_brought_back_in_the_same_moment_keeps_its_ledger(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    really = Retirement.retire

    def late(ledger: Retirement, ids: Collection[UUID], cutoffs: retirement.Cutoffs) -> retirement.Due:
        admin.execute("update tenant_management.tenants set status = 0 where id = %s", [executions[0].tenant_id])
        return really(ledger, ids, cutoffs)

    monkeypatch.setattr(Retirement, "retire", late)
    passed(company, 91)

    assert len(documents(admin, executions)) == 3
    assert rows_of(admin, executions[2]).keys() >= {"history", "attempts"}


def test_one_that_cannot_be_archived_holds_up_no_other_and_is_told(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    admin.execute("create table engine.mine (execution_id uuid references engine.executions)")
    admin.execute("insert into engine.mine values (%s)", [executions[0].id])

    report = passed(company, 91)

    assert report.errors == (f"execution {executions[0].id}: ForeignKeyViolation",)
    assert not report.finished
    assert archived(admin, executions).keys() == {one.id for one in executions[1:]}
    admin.execute("drop table engine.mine")
    assert passed(company, 91).finished
    assert len(archived(admin, executions)) == 3


def test_an_archived_execution_can_still_be_looked_at(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    workflow = executions[0].workflow_id
    seen = [looking.show(company.desk, workflow, one.id) for one in executions]
    assert [one.archived for one in seen] == [False, False, False]
    passed(company, 91)
    thinned = [looking.show(company.desk, workflow, one.id) for one in executions]
    assert [one.archived for one in thinned] == [True, True, False]
    is_gone(admin, executions[0])
    passed(company, 91)

    newest = looking.show(company.desk, workflow)
    whole = [looking.show(company.desk, workflow, one.id) for one in executions]

    assert newest == whole[2]
    for before, then, now in zip(seen, thinned, whole, strict=True):
        assert before.execution == then.execution == now.execution
        assert list(before.history) == list(then.history) == list(now.history)
        assert now.archived
    assert Archive(company.database).executions(tenant_id=executions[0].tenant_id) == [
        one.execution for one in reversed(whole)
    ]
    with pytest.raises(Refused, match="There is no workflow"):
        looking.show(company.desk, workflow, uuid4())
    with pytest.raises(Refused, match="There is no workflow"):
        looking.show(company.desk, "provision-tenant-\0")


def test_dagster_runs_go_with_their_execution_and_unknown_ones_with_their_own_end(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=500)
    closed = completed(company, new_key())
    waiting = company.provision(new_key(), plan="free")
    gone = completed(company, new_key())
    is_gone(admin, gone)
    passed(company, 91, ages=replace(AGES, dagster_runs=0))
    refused, rollback_of_gone = uuid4(), uuid4()
    runs = Runs(
        [
            EndedRun(waiting.id, waiting.id, long_ago),
            EndedRun(closed.id, closed.id, long_ago),
            EndedRun(refused, None, long_ago),
            EndedRun(gone.id, gone.id, long_ago),
            EndedRun(rollback_of_gone, gone.id, long_ago),
        ]
    )
    ages = replace(NOTHING, dagster_runs=30 * DAY)

    for batch in (1, 2, 10):
        assert passed(company, 29, ages=ages, dry=True, runs=runs, bounds=Bounds(batch)).counts == {
            Kind.DAGSTER_RUNS: 1
        }
    assert passed(company, 29, ages=ages, runs=runs, bounds=Bounds(batch=1)).counts == {Kind.DAGSTER_RUNS: 1}
    assert runs.deleted == [refused]

    assert passed(company, 31, ages=ages, runs=runs, bounds=Bounds(batch=1)).counts == {Kind.DAGSTER_RUNS: 3}
    assert [run.id for run in runs.there] == [waiting.id]


def test_a_dagster_run_that_cannot_be_deleted_is_passed_over_and_told(company: HeardCompany) -> None:
    ids = [uuid4() for _ in range(5)]
    runs = Runs([EndedRun(one, None, datetime.now(UTC)) for one in ids], stuck={ids[1]})
    ages = replace(NOTHING, dagster_runs=30 * DAY)

    report = passed(company, 31, ages=ages, runs=runs, bounds=Bounds(batch=2))

    assert runs.deleted == [ids[0], *ids[2:]]
    assert report.errors == (f"Dagster run {ids[1]}: ConnectionError",)
    runs.stuck = {run.id for run in runs.there} | {uuid4()}
    runs.there += [EndedRun(uuid4(), None, datetime.now(UTC)) for _ in range(100)]
    runs.stuck |= {run.id for run in runs.there}
    assert len(passed(company, 31, ages=ages, runs=runs).errors) == 20


UNKNOWN, OPEN = "unknown", None


@pytest.mark.parametrize(
    ("closed", "ended", "gone"),
    [(UNKNOWN, -1, True), (UNKNOWN, 1, False), (OPEN, -1, False), (-1, 1, True), (1, -1, False)],
)
def test_when_a_dagster_run_may_go(closed: int | str | None, ended: int, gone: bool) -> None:
    """In hours from the moment before which things are old."""
    before = datetime.now(UTC)
    run = EndedRun(uuid4(), None, before + timedelta(hours=ended))
    end = before + timedelta(hours=closed) if isinstance(closed, int) else None

    assert may_go(run, {} if closed == UNKNOWN else {run.id: end}, before) is gone


def purges(admin: psycopg.Connection) -> list[tuple[object, ...]]:
    return all_of(
        admin,
        "select performed_by, source, outcome, changes from engine.operator_actions where action = 'purge' order by id",
    )


def test_what_a_pass_has_done_is_in_the_audit_batch_by_batch(
    company: HeardCompany, systems: Systems, admin: psycopg.Connection, key: str
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    is_gone(admin, executions[0])
    runs = Runs([EndedRun(uuid4(), None, datetime.now(UTC)) for _ in range(3)])
    runs.stuck = {runs.there[0].id}
    before = len(purges(admin))

    passed(company, 91, dry=True, runs=runs)
    assert len(purges(admin)) == before
    passed(company, 91, bounds=Bounds(batch=2), runs=runs)

    assert purges(admin)[before:] == [
        ("tester", "cli", outcome, changes)
        for outcome, changes in (
            ("begun", {"dagsterRuns": 2}),
            ("done", {"dagsterRuns": 1}),
            ("begun", {"dagsterRuns": 1}),
            ("done", {"dagsterRuns": 1}),
            ("done", {"archived": 2}),
            ("done", {"archived": 1}),
        )
    ]


def test_what_a_pass_was_doing_when_it_died_is_in_the_audit_too(
    company: HeardCompany, control_plane: str, systems: Systems, admin: psycopg.Connection
) -> None:
    executions = failed_twice_then_completed(company, systems, new_key())
    is_gone(admin, executions[0])
    held = f"select 1 from engine.steps where execution_id = '{executions[1].id}' for update"
    before = len(purges(admin))

    with killed_while_it_waits_for(admin, control_plane, 91, held):
        assert purges(admin)[before:] == [("tester", "cli", "done", {"archived": 1})]


def test_runs_that_dagster_was_asked_to_delete_are_in_the_audit_when_the_pass_dies(
    company: HeardCompany, admin: psycopg.Connection
) -> None:
    class Dying(Runs):
        def delete(self, run_id: UUID) -> None:
            super().delete(run_id)
            raise KeyboardInterrupt

    runs = Dying([EndedRun(uuid4(), None, datetime.now(UTC)) for _ in range(2)])
    before = len(purges(admin))

    with pytest.raises(KeyboardInterrupt):
        passed(company, 31, ages=replace(NOTHING, dagster_runs=30 * DAY), runs=runs)

    assert len(runs.deleted) == 1
    assert purges(admin)[before:] == [("tester", "cli", "begun", {"dagsterRuns": 2})]
