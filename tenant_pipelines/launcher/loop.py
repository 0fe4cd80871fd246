"""A worker's life: it takes a run, has it carried out in this process, and takes the next one. Knows no Dagster."""

import contextlib
import os
import select
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

import psycopg
import tenacity

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.launcher.channel import Channel
from tenant_pipelines.launcher.interrupts import Interrupts
from tenant_pipelines.launcher.processes import started_at
from tenant_pipelines.ledger.launches import LAUNCHES, Launches, Lease
from tenant_pipelines.ledger.listening import Listener

LOOK_EVERY = 5.0
"""Seconds after which an idle worker looks whether something waits, told or not."""

CarryOut = Callable[[Lease], str]
"""Carries out the run of a lease, and answers its outcome."""


class Loop:
    """A worker's life.

    Args:
        pool: this life of the supervisor. url: of the ledger's database.
        carry_out: does what a run asks for. shield: within it interrupts are kept back, except where `carry_out` lets
            them come.
    """

    def __init__(
        self,
        channel: Channel,
        launches: Launches,
        *,
        pool: UUID,
        url: str,
        carry_out: CarryOut,
        shield: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._channel = channel
        self._launches = launches
        self._pool = pool
        self._url = url
        self._carry_out = carry_out
        self._shield = shield
        self._pid = os.getpid()
        self._started = started_at(self._pid)
        self._interrupts = Interrupts()
        self._listener: Listener | None = None
        self._present: Lease | None = None

    def run(self) -> None:
        """Until the supervisor says that it is enough, or has gone, or a run was interrupted.

        Raises: Refused when the database stays away while a run is to be closed; what Dagster's storage raises then.
        """
        self._interrupts.install()
        self._channel.on_interrupt = self._interrupts.want
        self._channel.on_orphaned = self._hand_over
        self._listen()
        self._channel.ready()
        while not (self._channel.stopping.is_set() or self._interrupts.acted):
            lease = self._take()
            if lease is None:
                self._wait()
            elif not self._do(lease):
                break  # it was given up: somebody else goes on with it, and took this process for dead
        self._channel.leaving()

    def _take(self) -> Lease | None:
        try:
            return self._launches.take(pool=self._pool, pid=self._pid, started=self._started)
        except Refused:  # the database is away
            return None

    def _do(self, lease: Lease) -> bool:
        self._present = lease
        self._channel.begun(lease.number)
        with self._shield(), self._interrupts.holding(lease.number):
            outcome = self._carry_out(lease)
        self._present = None
        self._channel.ended()
        return self._launches.end(lease, outcome)

    def _wait(self) -> None:
        """Until something is queued, or the process is to end, or it is time to look anyway."""
        try:
            listener = self._listener or self._listen()
            if not listener.heard():
                select.select([listener.fileno(), self._channel.fileno()], [], [], LOOK_EVERY)
        except psycopg.OperationalError:
            self._listener = None

    def _listen(self) -> Listener:
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
            stop=tenacity.stop_after_delay(60) | tenacity.stop_when_event_set(self._channel.stopping),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            sleep=tenacity.sleep_using_event(self._channel.stopping),
            reraise=True,
        )
        self._listener = tries(Listener, self._url, [LAUNCHES], name="tenant-pipelines worker")
        return self._listener

    def _hand_over(self) -> None:
        """The supervisor is gone. What is being done goes on, as nobody else can do it yet, to where it can be parked.

        An interrupt would be a cancel, and dying here would lose the step that is under way.
        """
        present = self._present
        if present is not None:
            with contextlib.suppress(Refused):  # the database is away: then the run goes on to its end
                self._launches.hand_over([present.run_id])
