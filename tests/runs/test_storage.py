"""Dagster's storage with pooled connections and grouped events, on a real PostgreSQL and beside the stock storage."""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry, JobDefinition
from dagster._core.events import DagsterEvent
from dagster._core.snap import ExecutionPlanSnapshot
from dagster_postgres.run_storage import PostgresRunStorage
from psycopg import sql

from sandbox.postgres import Server
from tenant_pipelines.runs import event_group, pool
from tenant_pipelines.runs.pool import DRIVER, USUAL, InvalidStorage, Limits
from tenant_pipelines.runs.storage import PooledEventLogStorage, PooledPostgresStorage, PooledRunStorage, grouped
from tests.runs.pooled import (
    PASSWORD,
    admin,
    carry_out,
    dagster_database,
    empty_database,
    found,
    instance_on,
    ours,
    pooled,
    succeeded,
    usual,
)

__all__ = ["admin", "dagster_database", "pooled", "usual"]

SOON = 10.0
Do = Callable[[dg.OpExecutionContext], None]


def nothing(_: dg.OpExecutionContext) -> None:
    """Does."""


def steps(**do: Do) -> JobDefinition:
    """A job with a step for each name, in a row."""

    def made(name: str, do: Do) -> dg.OpDefinition:
        @dg.op(name=name, ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
        def take(context: dg.OpExecutionContext) -> None:
            context.log.info(f"this is {name}")
            do(context)

        return take

    names = list(do)
    dependencies = {name: {"start": dg.DependencyDefinition(before)} for before, name in itertools.pairwise(names)}
    graph = dg.GraphDefinition("steps", node_defs=[made(*one) for one in do.items()], dependencies=dependencies)
    job: JobDefinition = graph.to_job(executor_def=dg.in_process_executor)
    return job


def told(instance: DagsterInstance, run_id: str) -> list[tuple[str | None, str | None, str]]:
    """Step, kind and our own message of each event, in the order of their ids."""
    return [
        (entry.step_key, _kind(entry), "" if entry.is_dagster_event else entry.user_message)
        for entry in instance.all_logs(run_id)
    ]


def _kind(entry: EventLogEntry) -> str | None:
    return entry.dagster_event_type.value if entry.dagster_event_type else None


# Beside the stock storage


def test_the_stock_storage_reads_what_is_written_in_groups(usual: DagsterInstance, pooled: DagsterInstance) -> None:
    job = steps(one=nothing, two=nothing)
    ordinary = carry_out(usual, job, in_groups=False)

    run = carry_out(pooled, job)

    assert succeeded(found(usual, run.run_id))
    assert told(usual, run.run_id) == told(usual, ordinary.run_id)
    assert told(usual, run.run_id) == told(pooled, run.run_id)


def test_it_reads_what_the_stock_storage_has_written(usual: DagsterInstance, pooled: DagsterInstance) -> None:
    run = carry_out(usual, steps(one=nothing), in_groups=False)

    assert found(pooled, run.run_id) == run
    assert pooled.all_logs(run.run_id) == usual.all_logs(run.run_id)
    assert pooled.get_run_stats(run.run_id) == usual.get_run_stats(run.run_id)


def test_every_column_is_as_the_stock_storage_fills_it(
    postgres: Server, dagster_database: str, usual: DagsterInstance, pooled: DagsterInstance
) -> None:
    ordinary = carry_out(usual, steps(one=nothing), in_groups=False)
    run = carry_out(pooled, steps(one=nothing))

    with psycopg.connect(postgres.dsn(dagster_database)) as connection:
        query = (
            "select dagster_event_type, step_key, asset_key, partition from event_logs where run_id = %s order by id"
        )
        rows = [connection.execute(query, [one.run_id]).fetchall() for one in (ordinary, run)]
        clock = "select bool_and(abs(extract(epoch from timestamp) - (event::json->>'timestamp')::float) < 0.001)"
        right = connection.execute(f"{clock} from event_logs where run_id = %s", [run.run_id]).fetchone()
    assert rows[0] == rows[1]
    assert right == (True,)


def test_the_tables_are_those_of_dagster_postgres(
    postgres: Server, dagster_database: str, usual: DagsterInstance, tmp_path: Path
) -> None:
    name = f"own_{os.getpid()}"
    with empty_database(postgres, name), instance_on(ours(postgres, name), tmp_path):
        assert _tables(postgres, name) == _tables(postgres, dagster_database)


def _tables(server: Server, database: str) -> list[tuple[Any, ...]]:
    query = """
        select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
         where table_schema = 'public' order by 1, 2
    """
    with psycopg.connect(server.dsn(database)) as connection:
        indexes = "select indexdef, '', '', '', '' from pg_indexes where schemaname = 'public' order by 1"
        version = connection.execute("select version_num from alembic_version").fetchall()
        return connection.execute(query).fetchall() + connection.execute(indexes).fetchall() + version


def test_dagsters_own_migrations_run_on_it(pooled: DagsterInstance) -> None:
    pooled.upgrade()

    storage = pooled.run_storage
    assert isinstance(storage, PooledRunStorage)
    assert storage._limits == USUAL


# In groups


def test_a_run_costs_a_group_for_each_step_and_each_change_of_its_status(
    pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_group.EventGroup, "__init__", _slow(event_group.EventGroup.__init__))
    groups: list[int] = []
    written = event_group.EventGroup._store

    def counting(group: event_group.EventGroup, rows: Sequence[event_group.Row]) -> None:
        groups.append(len(rows))
        written(group, rows)

    monkeypatch.setattr(event_group.EventGroup, "_store", counting)

    run = carry_out(pooled, steps(one=nothing, two=nothing, three=nothing))

    assert len(groups) == 1 + 3 + 1
    assert sum(groups) == len(pooled.all_logs(run.run_id))


def _slow(init: Callable[..., None]) -> Callable[..., None]:
    """Its thread writes nothing by itself, and each end of a step is a group."""
    return lambda self, table: init(self, table, latest=60.0, apart=0)


def test_the_plan_of_a_job_is_read_for_its_first_run_only(
    pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    get = PostgresRunStorage.get_execution_plan_snapshot

    def reading(storage: PostgresRunStorage, snapshot: str) -> ExecutionPlanSnapshot:
        read.append(snapshot)
        return get(storage, snapshot)

    monkeypatch.setattr(PostgresRunStorage, "get_execution_plan_snapshot", reading)
    job = steps(one=nothing, another=nothing)

    assert all(succeeded(carry_out(pooled, job)) for _ in range(3))

    assert len(read) == 1


def test_whether_a_plan_is_stored_is_asked_of_the_database(pooled: DagsterInstance, usual: DagsterInstance) -> None:
    run = carry_out(pooled, steps(one=nothing, yet_another=nothing))
    plan = run.execution_plan_snapshot_id
    assert plan is not None
    storage = usual.run_storage
    assert isinstance(storage, PostgresRunStorage)
    assert pooled.run_storage.has_execution_plan_snapshot(plan)
    pooled.delete_run(run.run_id)
    with storage.connect() as connection:
        connection.exec_driver_sql("delete from snapshots where snapshot_id = %s", (plan,))

    assert not pooled.run_storage.has_execution_plan_snapshot(plan)


def test_a_step_that_takes_long_shows_as_started(usual: DagsterInstance, pooled: DagsterInstance) -> None:
    seen = threading.Event()

    def look(context: dg.OpExecutionContext) -> None:
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline and not seen.is_set():
            if ("slow", "STEP_START", "") in told(usual, context.run_id):
                seen.set()

    run = carry_out(pooled, steps(slow=look))

    assert succeeded(run)
    assert seen.is_set()


def test_a_run_sees_its_own_events_at_once(pooled: DagsterInstance) -> None:
    seen: list[list[tuple[str | None, str | None, str]]] = []

    run = carry_out(pooled, steps(one=lambda context: seen.append(told(context.instance, context.run_id))))

    assert succeeded(run)
    assert seen[0][-1] == ("one", None, "this is one")


def test_the_status_never_comes_before_the_events(pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    last: list[str | None] = []
    set_status = PooledRunStorage.handle_run_event

    def looking(storage: PooledRunStorage, run_id: str, event: DagsterEvent, *more: Any) -> None:
        assert isinstance(pooled.event_log_storage, PooledEventLogStorage)
        with psycopg.connect(storage.postgres_url.replace("+psycopg2", "")) as connection:
            query = "select dagster_event_type from event_logs where run_id = %s order by id desc limit 1"
            row = connection.execute(query, [run_id]).fetchone()
        last.append(row[0] if row else None)
        set_status(storage, run_id, event, *more)

    monkeypatch.setattr(PooledRunStorage, "handle_run_event", looking)

    carry_out(pooled, steps(one=nothing))

    assert last == ["PIPELINE_START", "PIPELINE_SUCCESS"]


def test_the_events_of_another_run_are_written_at_once(usual: DagsterInstance, pooled: DagsterInstance) -> None:
    other = pooled.create_run_for_job(steps(one=nothing))

    def tell(context: dg.OpExecutionContext) -> None:
        context.instance.report_engine_event("told about another", other)
        assert told(usual, other.run_id) == [(None, "ENGINE_EVENT", "")]

    assert succeeded(carry_out(pooled, steps(one=tell)))


def test_an_asset_of_somebody_elses_job_is_recorded_in_its_place(pooled: DagsterInstance) -> None:
    @dg.asset
    def somebody_elses() -> None:
        """An asset."""

    definitions = dg.Definitions(
        assets=[somebody_elses], jobs=[dg.define_asset_job("all")], executor=dg.in_process_executor
    )
    job = definitions.resolve_job_def("all")

    run = carry_out(pooled, job)

    assert succeeded(run)
    kinds = [kind for _, kind, _ in told(pooled, run.run_id)]
    place = kinds.index("ASSET_MATERIALIZATION")
    assert kinds.index("STEP_START") < place < kinds.index("STEP_SUCCESS")
    assert pooled.get_latest_materialization_event(dg.AssetKey("somebody_elses")) is not None


def test_a_failing_run_is_told_to_its_end(usual: DagsterInstance, pooled: DagsterInstance) -> None:
    def fail(_: dg.OpExecutionContext) -> None:
        raise dg.Failure("as told", allow_retries=False)

    run = carry_out(pooled, steps(one=nothing, two=fail, three=nothing))

    assert run.status is DagsterRunStatus.FAILURE
    kinds = [kind for _, kind, _ in told(usual, run.run_id)]
    assert kinds[-1] == "PIPELINE_FAILURE"
    assert kinds.count("STEP_FAILURE") == 1


def test_a_job_that_ends_by_an_exception_leaves_no_event_behind(pooled: DagsterInstance) -> None:
    run = pooled.create_run_for_job(steps(one=nothing))

    with pytest.raises(LookupError), grouped(pooled, run.run_id):
        _tell_and_raise(pooled, run)

    assert [kind for _, kind, _ in told(pooled, run.run_id)] == ["ENGINE_EVENT"]


def _tell_and_raise(instance: DagsterInstance, run: DagsterRun) -> None:
    instance.report_engine_event("told", run)
    raise LookupError


def test_with_another_storage_nothing_is_grouped(usual: DagsterInstance) -> None:
    assert succeeded(carry_out(usual, steps(one=nothing)))


# When the database goes away


def _cut(admin: psycopg.Connection[Any], database: str) -> None:
    """As a restart does with everybody who is connected."""
    admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])


@contextmanager
def _away(admin: psycopg.Connection[Any], database: str) -> Iterator[Callable[[], None]]:
    """Refuses everybody until what it hands over is called."""
    name = sql.Identifier(database)

    def back() -> None:
        admin.execute(sql.SQL("alter database {} allow_connections true").format(name))

    admin.execute(sql.SQL("alter database {} allow_connections false").format(name))
    _cut(admin, database)
    try:
        yield back
    finally:
        back()


def test_a_restart_between_two_steps_is_not_seen(
    admin: psycopg.Connection[Any], dagster_database: str, pooled: DagsterInstance
) -> None:
    run = carry_out(pooled, steps(one=nothing, two=lambda _: _cut(admin, dagster_database), three=nothing))

    assert succeeded(run)
    assert [step for step, kind, _ in told(pooled, run.run_id) if kind == "STEP_SUCCESS"] == ["one", "two", "three"]


def test_a_restart_at_the_end_of_a_run_is_not_seen(
    admin: psycopg.Connection[Any], dagster_database: str, pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right before the status is set: the connection was in use a moment ago."""
    set_status = PooledRunStorage.__mro__[2].handle_run_event  # type: ignore[attr-defined]
    cut: list[str] = []

    def cutting(storage: PooledRunStorage, run_id: str, event: DagsterEvent, *more: Any) -> None:
        if event.event_type is DagsterEventType.PIPELINE_SUCCESS and not cut:
            cut.append(run_id)
            _cut(admin, dagster_database)
        set_status(storage, run_id, event, *more)

    monkeypatch.setattr(PooledRunStorage.__mro__[2], "handle_run_event", cutting)

    run = carry_out(pooled, steps(one=nothing))

    assert cut == [run.run_id]
    assert succeeded(run)


def test_a_connection_that_rested_is_tried_before_it_is_used(
    admin: psycopg.Connection[Any], dagster_database: str, pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = carry_out(pooled, steps(one=nothing))
    monkeypatch.setattr(pool, "_FRESH", 0.0)
    storage = pooled.schedule_storage
    assert storage is not None
    _cut(admin, dagster_database)

    assert storage.all_instigator_state() == []  # nothing of ours stands around this statement
    assert found(pooled, run.run_id) == run


def test_steps_go_on_while_it_is_away_and_tell_it_later(
    admin: psycopg.Connection[Any], dagster_database: str, usual: DagsterInstance, pooled: DagsterInstance
) -> None:
    """Measured with the stock storage: away for 45 s at the end of a step makes a step that has succeeded fail."""
    job = steps(one=nothing, two=nothing)
    ordinary = carry_out(usual, job, in_groups=False)
    took: list[float] = []

    with _away(admin, dagster_database) as back:
        back()
        away = steps(one=lambda _: _refuse(admin, dagster_database), two=lambda _: back())
        began = time.monotonic()
        run = carry_out(pooled, away)
        took.append(time.monotonic() - began)

    assert succeeded(run)
    assert told(pooled, run.run_id) == told(usual, ordinary.run_id)
    assert took[0] < SOON


def _refuse(admin: psycopg.Connection[Any], database: str) -> None:
    admin.execute(sql.SQL("alter database {} allow_connections false").format(sql.Identifier(database)))
    _cut(admin, database)


def test_the_end_of_a_run_waits_until_it_is_back(
    admin: psycopg.Connection[Any], dagster_database: str, pooled: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = threading.Semaphore(0)
    monkeypatch.setattr(pool, "is_away", _telling(tries))

    def back() -> None:
        assert all(tries.acquire(timeout=SOON) for _ in range(6))
        admin.execute(sql.SQL("alter database {} allow_connections true").format(sql.Identifier(dagster_database)))

    helper = threading.Thread(target=back)
    with _away(admin, dagster_database) as at_last:
        at_last()
        helper.start()
        run = carry_out(pooled, steps(one=lambda _: _refuse(admin, dagster_database)))
        helper.join()

    assert succeeded(run)
    assert [kind for _, kind, _ in told(pooled, run.run_id)][-1] == "PIPELINE_SUCCESS"


def _telling(tries: threading.Semaphore) -> Callable[[BaseException], bool]:
    known = pool.is_away

    def is_away(error: BaseException) -> bool:
        tries.release()
        return known(error)

    return is_away


# Connections


def _connections(admin: psycopg.Connection[Any], database: str) -> int:
    query = "select count(*) from pg_stat_activity where datname = %s and application_name = 'tenant-pipelines dagster'"
    row = admin.execute(query, [database]).fetchone()
    assert row is not None
    return int(row[0])


def test_the_three_storages_of_a_process_share_a_small_pool(
    admin: psycopg.Connection[Any], dagster_database: str, pooled: DagsterInstance
) -> None:
    carry_out(pooled, steps(one=nothing, two=nothing))

    engines = {
        id(storage._engine)  # type: ignore[union-attr]
        for storage in (pooled.run_storage, pooled.event_log_storage, pooled.schedule_storage)
    }
    assert len(engines) == 1
    assert 1 <= _connections(admin, dagster_database) <= USUAL.kept


def test_a_second_instance_of_the_process_uses_the_same_connections(
    postgres: Server,
    admin: psycopg.Connection[Any],
    dagster_database: str,
    pooled: DagsterInstance,
    tmp_path: Path,
) -> None:
    """The code server opens one for each tick of a sensor."""
    with instance_on(ours(postgres, dagster_database), tmp_path) as another:
        another.get_runs(limit=1)
        pooled.get_runs(limit=1)

    assert _connections(admin, dagster_database) <= USUAL.kept


def test_a_child_uses_no_connection_of_its_parent(pooled: DagsterInstance) -> None:
    run = carry_out(pooled, steps(one=nothing))
    before = _backend(pooled)
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        try:
            same = found(pooled, run.run_id) == run
            os.write(writing, f"{same} {_backend(pooled)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reading, 100).decode().split()
    os.close(reading)
    os.close(writing)

    assert answer[0] == "True"
    assert int(answer[1]) != before
    assert _backend(pooled) == before


def _backend(instance: DagsterInstance) -> int:
    storage = instance.run_storage
    assert isinstance(storage, PooledRunStorage)
    with storage.connect() as connection:
        return int(connection.exec_driver_sql("select pg_backend_pid()").scalar_one())


def test_a_statement_has_a_limit_and_a_migration_has_none(pooled: DagsterInstance) -> None:
    storage = pooled.run_storage
    assert isinstance(storage, PooledRunStorage)

    assert _limit(storage) == "1min"
    with storage._without_end():
        assert _limit(storage) == "0"
    assert _limit(storage) == "1min"


def _limit(storage: PooledRunStorage) -> str:
    with storage.connect() as connection:
        return str(connection.exec_driver_sql("show statement_timeout").scalar_one())


def test_the_webserver_may_set_its_own_limits(postgres: Server, dagster_database: str, usual: DagsterInstance) -> None:
    storage = PooledRunStorage(pool.with_driver(postgres.dsn(dagster_database)), Limits())

    storage.optimize_for_webserver(statement_timeout=15000, pool_recycle=600, max_overflow=20)

    assert _limit(storage) == "15s"
    assert storage._limits == Limits(kept=2, at_most=22, statement=15.0, age=600)
    storage._engine.dispose()


def test_what_the_url_asks_for_wins(postgres: Server, dagster_database: str, usual: DagsterInstance) -> None:
    url = pool.with_driver(f"{postgres.dsn(dagster_database)}?options=-c%20statement_timeout%3D7000")
    storage = PooledRunStorage(url, Limits())

    assert _limit(storage) == "7s"
    storage._engine.dispose()


# How it is set up


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", DRIVER])
def test_the_driver_is_the_one_that_works(scheme: str) -> None:
    assert pool.with_driver(f"{scheme}://u:p%40ss@h:1/d") == f"{DRIVER}://u:p%40ss@h:1/d"


def test_another_driver_is_refused_without_showing_the_password() -> None:
    with pytest.raises(
        InvalidStorage, match=f"driver 'postgresql\\+psycopg'.*scheme: {DRIVER.replace('+', '.')}"
    ) as refused:
        pool.with_driver("postgresql+psycopg://u:hidden@h:1/d")

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("where", ["password", "url"])
def test_a_password_that_is_written_out_is_refused(postgres: Server, tmp_path: Path, where: str) -> None:
    """It shows in the arguments of the code server's process."""
    storage = ours(postgres, "any")
    if where == "password":
        storage["custom"]["config"]["postgres_db"]["password"] = "hidden"
    else:
        storage["custom"]["config"] = {"postgres_url": "postgresql://u:hidden@h:1/d"}

    with pytest.raises(InvalidStorage, match=r"written out.*env") as refused, instance_on(storage, tmp_path):
        pass

    assert "hidden" not in str(refused.value)


def test_the_password_is_not_in_what_processes_are_given(
    pooled: DagsterInstance, postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    given = str(pooled.get_ref().to_dict())

    assert PASSWORD in given
    secret = f":{postgres.password}@"
    storage = pooled.run_storage
    assert isinstance(storage, PooledRunStorage)
    assert secret not in given + repr(storage) + repr(storage._engine) + caplog.text


@pytest.mark.parametrize(("kept", "at_most"), [(0, 5), (6, 5), (-1, -1)])
def test_a_pool_without_sense_is_refused(postgres: Server, tmp_path: Path, kept: int, at_most: int) -> None:
    storage = ours(postgres, "any", connections_kept=kept, connections_at_most=at_most)

    with pytest.raises(InvalidStorage, match=r"connections_kept of at least 1"), instance_on(storage, tmp_path):
        pass


def test_the_limits_come_from_the_configuration(
    postgres: Server, dagster_database: str, usual: DagsterInstance, tmp_path: Path
) -> None:
    storage = ours(postgres, dagster_database, connections_kept=1, connections_at_most=3, statement_timeout=5)
    with instance_on(storage, tmp_path) as instance:
        runs = instance.run_storage
        assert isinstance(runs, PooledRunStorage)
        assert runs._limits == Limits(kept=1, at_most=3, statement=5.0)
        runs._engine.dispose()


def test_the_storage_says_how_it_was_configured(pooled: DagsterInstance) -> None:
    data = pooled.get_ref().storage_data
    assert data is not None

    assert isinstance(data.rehydrate(as_type=PooledPostgresStorage), PooledPostgresStorage)
