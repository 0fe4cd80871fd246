"""Dagster's table of events, as a group of them is written into it: in one statement, in order."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from dagster._core.storage.event_log import SqlEventLogStorageTable
from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from tenant_pipelines.runs.event_group import Row

COLUMNS = ("run_id", "event", "dagster_event_type", "timestamp", "step_key", "asset_key", "partition")
"""What an event is stored in, beside its id."""

_WRITE = text(
    """
    with written as (
        insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
        select run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition
          from unnest(
                   cast(:run_id as text[]), cast(:event as text[]), cast(:dagster_event_type as text[]),
                   cast(:timestamp as timestamp[]), cast(:step_key as text[]), cast(:asset_key as text[]),
                   cast(:partition as text[])
               ) with ordinality
               as told (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition, place)
         order by place
        returning id
    )
    select max(id), pg_notify('run_events', :run || '_' || max(id)) from written
    """
)
"""One statement, so one commit; the ids follow the order. The notification is Dagster's own, once for a group."""


class EventTable:
    """Fulfils `event_group.Table`.

    Args: connected: a connection that commits each statement.
    """

    def __init__(self, connected: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connected = connected

    def write(self, rows: Sequence[Row]) -> int:
        """All or none, in order."""
        values: dict[str, object] = {name: [row[name] for row in rows] for name in COLUMNS}
        with self._connected() as connection:
            return int(connection.execute(_WRITE, {**values, "run": rows[0]["run_id"]}).scalar_one())

    def holds(self, row: Row, after: int) -> bool:
        """The text of an event holds the moment it was told at."""
        columns = SqlEventLogStorageTable.c
        same = (columns.run_id == row["run_id"], columns.id > after, columns.event == row["event"])
        with self._connected() as connection:
            return connection.execute(select(columns.id).where(*same).limit(1)).first() is not None
