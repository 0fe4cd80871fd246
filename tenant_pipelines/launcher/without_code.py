"""A worker whose code location cannot be imported: it takes no run, and says in those that wait why they do.

What was queued stays queued, and uses up none of the workers that a step may lose. The supervisor loads everything
anew from time to time; when that works, this process is told to end.
"""

import select
from uuid import UUID

import psycopg
from dagster import DagsterEventType, DagsterInstance

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.launcher.channel import Channel
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import LAUNCHES, Launches
from tenant_pipelines.ledger.listening import Listener

LOOK_EVERY = 5.0
"""Seconds between two looks at the queue, told or not."""
AT_ONCE = 100
"""Runs that are told in one look: the oldest ones."""
LONGEST = 500
"""Characters of the reason that are shown in a workflow."""
WAY_OUT = "It waits in the queue. Way out: mend the code; the pool tries again by itself, and at once when sent SIGHUP."


def rest(channel: Channel, instance: DagsterInstance, database: Database, *, url: str, reason: str) -> None:
    """Say it in every run that waits, also in those that come, until told to end.

    Args: url: of the ledger's database. reason: for people.
    """
    channel.broken(reason)
    launches = Launches(database)
    while not channel.stopping.is_set():
        try:
            _listen(channel, instance, launches, url, reason)
        except (psycopg.OperationalError, Refused):  # the database is away
            channel.stopping.wait(LOOK_EVERY)


def _listen(channel: Channel, instance: DagsterInstance, launches: Launches, url: str, reason: str) -> None:
    listener = Listener(url, [LAUNCHES], name="tenant-pipelines worker")
    try:
        while not channel.stopping.is_set():
            tell_waiting(instance, launches, reason)
            if not listener.heard():
                select.select([listener.fileno(), channel.fileno()], [], [], LOOK_EVERY)
    finally:
        listener.close()


def tell_waiting(instance: DagsterInstance, launches: Launches, reason: str) -> None:
    """Say it once in each run that waits: in Dagster as an event of the run, in the ledger as the workflow's message.

    Raises: Refused UNAVAILABLE when the ledger is away.
    """
    launches.say_why_they_wait(f"Waiting for a worker: {reason}"[:LONGEST])
    text = f"No worker can carry out this run: {reason}\n{WAY_OUT}"

    def tell(run_id: UUID) -> None:
        run = instance.get_run_by_id(str(run_id))
        if run is not None and not run.is_finished and not _told(instance, run.run_id, text):
            instance.report_engine_event(text, run)

    launches.each_waiting(AT_ONCE, tell)


def _told(instance: DagsterInstance, run_id: str, text: str) -> bool:
    """By this process or by an earlier one."""
    return any(entry.message == text for entry in instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT))
