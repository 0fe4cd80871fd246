"""The waker: a warm process of the pool that pushes executions on as soon as that is due.

It hears of it (NOTIFY), knows when the next thing is due, and looks once a second all the same. It is the fast path;
the sensor `workflow_guard` calls the same functions every few seconds and is the guarantee. It listens to
`engine_wake` only: what is announced to the workers (a launch, a wish) needs no push.
"""

import importlib
import select
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

import psycopg
import tenacity
from dagster import DagsterInstance

from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.launcher.channel import Assignment, Channel
from tenant_pipelines.launcher.execution import jobs_of
from tenant_pipelines.ledger import waking
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.due import DueList
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.parking import PAGE, Looks
from tenant_pipelines.operations.pushing import SHORTEST_SLEEP, Waker
from tenant_pipelines.operations.reconcile import wake
from tenant_pipelines.operations.runs import NotSupported
from tenant_pipelines.runs.gateway import DagsterRuns

PATIENCE = 5.0
"""Seconds for which one push waits for the database."""
BY = "waker"
AWAY = (psycopg.OperationalError, psycopg.InterfaceError)


class Ending(Protocol):
    """Says when to end; readable from then on."""

    def fileno(self) -> int:
        """To be waited on."""
        ...


def main(channel: Channel, given: Assignment) -> None:
    """Be the waker until told to end; without a code location, which every launch needs, only wait for that."""
    from tenant_pipelines.launcher.warm import PRELOADED  # noqa: PLC0415 - imports the definitions

    if (reason := PRELOADED.reason) is not None:
        channel.broken(reason)
        channel.stopping.wait()
        return
    try:
        configured = settings.load()
        with (
            DagsterInstance.get() as instance,
            closing(Database(configured.database_url.get_secret_value(), patience=PATIENCE)) as database,
        ):
            desk = open_desk(configured, database, DagsterRuns(instance, lambda name: jobs_of(given.definitions)[name]))
            with _looking(desk, given.definitions, configured) as parked:
                channel.ready()
                attend(Waker(desk, parked, by=BY), configured.database_url.get_secret_value(), channel)
    except (settings.InvalidSettings, NotSupported) as reason:
        channel.unfit(str(reason))


@contextmanager
def _looking(desk: Desk, definitions: str, given: settings.Settings) -> Iterator[Callable[[], object]]:
    """What looks after parked executions, with the outside systems that `world` of the definitions module makes.

    Without one nothing is looked at: whoever is due is woken, and its step sees for itself.
    """
    database = desk.ledger.database
    try:
        world = getattr(importlib.import_module(definitions), "world", None)
    except Exception:  # the workers say what is wrong with it
        world = None
    if world is None:
        yield lambda: _wake_all(desk)
        return
    with Looks(desk, world(given, database), by=BY) as looks:
        yield looks.pass_over


def _wake_all(desk: Desk) -> None:
    for waiting in waking.due(desk.ledger.database, limit=PAGE):
        if waiting.due:
            wake(desk, waiting.execution, by=BY)


def attend(waker: Waker, url: str, ending: Ending) -> None:
    """Push on whatever becomes due, until told to end; while the database is away, wait for it."""
    while not _over(ending):
        connected = _connect(url, ending)
        if connected is None:
            return
        try:
            _listen(waker, connected, ending)
        except AWAY:
            continue
        finally:
            connected.close()


def _listen(waker: Waker, connected: DueList, ending: Ending) -> None:
    while not _over(ending):
        wait = waker.push(connected.look())
        readable, _, _ = select.select([connected, ending], [], [], wait)
        if connected in readable and not _over(ending, SHORTEST_SLEEP):
            connected.heard()


def _connect(url: str, ending: Ending) -> DueList | None:
    """A connection as soon as there can be one; None when it is time to end before that."""

    def sleep(seconds: float) -> None:
        _over(ending, seconds)

    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AWAY),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
        stop=lambda _: _over(ending),
        sleep=sleep,
        retry_error_callback=lambda _: None,
    )
    connected: DueList | None = tries(DueList, url)
    return connected


def _over(ending: Ending, within: float = 0.0) -> bool:
    return bool(select.select([ending], [], [], within)[0])
