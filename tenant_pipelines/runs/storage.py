"""Dagster's storage on PostgreSQL with pooled connections, and grouped events where a run is carried out.

Set in dagster.yaml as `storage: custom:` with this module, the class `PooledPostgresStorage` and the configuration of
`storage: postgres:`. Tables and rows are those of dagster-postgres: whatever uses the stock storage beside it reads
what this one writes, and the other way round.

When an event is durable is said in `tenant_pipelines.runs.event_group`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, EventLogEntry, Field, IntSource
from dagster._config import UserConfigSchema
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, PIPELINE_EVENTS
from dagster._core.snap import ExecutionPlanSnapshot
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import pg_config
from dagster._core.storage.event_log import EventLogStorage
from dagster._core.storage.runs import RunStorage
from dagster._core.storage.schedules import ScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy.engine import Connection, Engine

from tenant_pipelines.runs import pool
from tenant_pipelines.runs.event_group import PATIENCE, EventGroup
from tenant_pipelines.runs.event_table import EventTable
from tenant_pipelines.runs.pool import USUAL, InvalidStorage, Limits

SHORT = 10.0
"""Seconds for which a connection is tried for where no run would fail for the lack of it."""

MOST_PLANS = 64
"""Plans of runs that are kept in memory; our jobs have one for each step that a run may begin with."""

_ENDS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_SKIPPED,
    DagsterEventType.STEP_UP_FOR_RETRY,
}
_ON_THEIR_OWN = ASSET_EVENTS | ASSET_CHECK_EVENTS
"""Each of these writes into other tables too; ours has none, but a company's own job may."""


class _Pooled:
    """What the three storages share: their connections come from this process's pool."""

    postgres_url: str
    _patience = SHORT

    def __init__(self, url: str, limits: Limits, *, create_tables: bool = True) -> None:
        self._limits = limits
        super().__init__(url, create_tables)  # type: ignore[call-arg]  # the storage that this is mixed into

    @property
    def _engine(self) -> Engine:
        return pool.engine(self.postgres_url, self._limits)

    @_engine.setter
    def _engine(self, made: Engine) -> None:
        """The storage makes one of its own at first, which is not used."""
        made.dispose()

    def _connected(self) -> AbstractContextManager[Connection]:
        return pool.connected(self._engine, self._patience)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Args: statement_timeout: milliseconds. pool_recycle: seconds. max_overflow: connections beside the first."""
        self._limits = replace(
            self._limits, statement=statement_timeout / 1000, age=pool_recycle, at_most=self._limits.kept + max_overflow
        )

    @contextmanager
    def _without_end(self) -> Iterator[None]:
        """For what changes tables, and takes as long as it takes."""
        usual, self._limits = self._limits, replace(self._limits, statement=0)
        try:
            yield
        finally:
            self._limits = usual

    def upgrade(self) -> None:
        """Dagster's migrations, without a limit for one statement."""
        with self._without_end():
            super().upgrade()  # type: ignore[misc]


class PooledRunStorage(_Pooled, PostgresRunStorage):
    """Runs."""

    own: str | None = None
    """The run that this process carries out."""

    def connect(self) -> AbstractContextManager[Connection]:
        """From the pool."""
        return self._connected()

    def fetchall(self, query: Any) -> Sequence[Any]:  # noqa: ANN401 - a query of SQLAlchemy's
        """Nearly every look at runs; one whose connection was lost is made once more."""
        rows: Sequence[Any] = pool.patient(SHORT)(super().fetchall, query)
        return rows

    def fetchone(self, query: Any) -> Any | None:  # noqa: ANN401
        """As `fetchall`."""
        return pool.patient(SHORT)(super().fetchone, query)

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        """Set the run's status; a run that is carried out here waits until the database can be told."""
        patience = PATIENCE if run_id == self.own else 0.0
        pool.patient(patience)(super().handle_run_event, run_id, event, update_timestamp)

    def has_run_stats_index_cols(self) -> bool:
        """Asked at each change of status and each look at a run; a column does not go away."""
        return self._has_run_stats_index_cols

    @cached_property
    def _has_run_stats_index_cols(self) -> bool:
        return super().has_run_stats_index_cols()

    def has_backfill_id_column(self) -> bool:
        """Asked for each new run."""
        return self._has_backfill_id_column

    @cached_property
    def _has_backfill_id_column(self) -> bool:
        return super().has_backfill_id_column()

    def get_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> ExecutionPlanSnapshot:
        """Read for each run that is carried out; runs of the same job from the same step have the same one.

        It cannot change: its id is a hash of it. Whether the database has it is never asked here.
        """
        found = self._plans.get(execution_plan_snapshot_id)
        if found is None:
            found = super().get_execution_plan_snapshot(execution_plan_snapshot_id)
            if found is not None and len(self._plans) < MOST_PLANS:
                self._plans[execution_plan_snapshot_id] = found
        return found

    def has_execution_plan_snapshot(self, execution_plan_snapshot_id: str) -> bool:
        """Whether the database has it, now."""
        return self._has_snapshot_id(execution_plan_snapshot_id)

    @cached_property
    def _plans(self) -> dict[str, ExecutionPlanSnapshot]:
        return {}

    def upgrade(self) -> None:
        """Dagster's migrations; they may add such a column."""
        super().upgrade()
        for name in ("_has_run_stats_index_cols", "_has_backfill_id_column"):
            self.__dict__.pop(name, None)

    def optimize(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Dagster has it
        """Dagster's migrations of rows."""
        with self._without_end():
            super().optimize(*args, **kwargs)

    def migrate(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Dagster's migrations of rows."""
        with self._without_end():
            super().migrate(*args, **kwargs)


class PooledScheduleStorage(_Pooled, PostgresScheduleStorage):
    """Schedules, sensors and their ticks."""

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Connection]:  # noqa: ARG002
        """From the pool."""
        return self._connected()


class PooledEventLogStorage(_Pooled, PostgresEventLogStorage):
    """Events; those of the run that this process carries out are written in groups."""

    _group: EventGroup | None = None
    _own: str | None = None

    @contextmanager
    def grouped(self, run_id: str) -> Iterator[None]:
        """While that run is carried out here, and only here."""
        self._group, self._own = EventGroup(EventTable(lambda: pool.connected(self._engine, 0))), run_id
        try:
            yield
        finally:
            group, self._group, self._own = self._group, None, None
            group.close()

    def store_event(self, event: EventLogEntry) -> None:
        """Store the event, or take it for the next group."""
        group = self._group
        if group is None or event.run_id != self._own:
            super().store_event(event)
            return
        kind = event.dagster_event_type if event.is_dagster_event else None
        if kind in _ON_THEIR_OWN:
            group.flush(PATIENCE)
            super().store_event(event)
            return
        group.add(self._event_to_row(event))
        if kind in PIPELINE_EVENTS:
            group.flush(PATIENCE)
        elif kind in _ENDS:
            group.end_step()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Dagster's own grouping, of asset events only."""
        self._flush()
        super().store_event_batch(events)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """Every look at the events of a run goes through this."""
        if run_id is None or run_id == self._own:
            self._flush()
        return self._connected()

    def index_connection(self) -> AbstractContextManager[Connection]:
        """Every look across runs goes through this."""
        self._flush()
        return self._connected()

    def _connect(self) -> AbstractContextManager[Connection]:
        return self._connected()

    def _flush(self) -> None:
        if self._group is not None:
            self._group.flush()


class PooledPostgresStorage(DagsterStorage, ConfigurableClass):
    """The class for dagster.yaml.

    Args:
        url: of Dagster's database.
        limits: of the one pool that all three storages of a process share.
        create_tables: in an empty database.
    Raises: InvalidStorage.
    """

    def __init__(
        self,
        url: str,
        limits: Limits = USUAL,
        *,
        create_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        self._inst_data = inst_data
        url = pool.with_driver(url)
        self._runs = PooledRunStorage(url, limits, create_tables=create_tables)
        self._events = PooledEventLogStorage(url, limits, create_tables=create_tables)
        self._schedules = PooledScheduleStorage(url, limits, create_tables=create_tables)
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How it was configured."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """That of `storage: postgres:` with a password, and the limits of the pool."""
        stock = {
            name: field for name, field in cast(Mapping[str, Field], pg_config()).items() if name != "auth_provider"
        }
        return {
            **stock,
            "connections_kept": Field(IntSource, default_value=USUAL.kept),
            "connections_at_most": Field(IntSource, default_value=USUAL.at_most),
            "statement_timeout": Field(IntSource, default_value=int(USUAL.statement), description="Seconds"),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """Raises: InvalidStorage."""
        if inst_data is not None:
            _refuse_a_secret_in(inst_data.config_dict)
        kept, at_most = config_value["connections_kept"], config_value["connections_at_most"]
        if not 1 <= kept <= at_most:
            raise InvalidStorage(
                f"Dagster's storage keeps {kept} connections and opens {at_most} at most. Way out: "
                "connections_kept of at least 1, and not above connections_at_most, in dagster.yaml"
            )
        limits = Limits(kept=kept, at_most=at_most, statement=config_value["statement_timeout"])
        create_tables = config_value.get("should_autocreate_tables", True)
        return cls(pg_url_from_config(config_value), limits, create_tables=create_tables, inst_data=inst_data)

    @property
    def event_log_storage(self) -> EventLogStorage:
        """Events."""
        return self._events

    @property
    def run_storage(self) -> RunStorage:
        """Runs."""
        return self._runs

    @property
    def schedule_storage(self) -> ScheduleStorage:
        """Schedules."""
        return self._schedules


@contextmanager
def grouped(instance: DagsterInstance, run_id: str) -> Iterator[None]:
    """Write that run's events in groups while it is carried out in this process; with another storage as it does.

    For a process that carries out one run at a time. All has been stored when this ends.
    """
    events, runs = instance.event_log_storage, instance.run_storage
    if not isinstance(events, PooledEventLogStorage) or not isinstance(runs, PooledRunStorage):
        yield
        return
    runs.own = run_id
    try:
        with events.grouped(run_id):
            yield
    finally:
        runs.own = None


def _refuse_a_secret_in(written: Mapping[str, Any]) -> None:
    """What is written out in dagster.yaml shows in the arguments of Dagster's processes."""
    literal = isinstance(written.get("postgres_url"), str) or isinstance(
        (written.get("postgres_db") or {}).get("password"), str
    )
    if literal:
        raise InvalidStorage(
            "The password of Dagster's storage is written out in dagster.yaml, and so shows in the arguments of "
            "Dagster's processes. Way out: password: {env: DAGSTER_POSTGRES_PASSWORD}, or postgres_url: {env: …}"
        )
