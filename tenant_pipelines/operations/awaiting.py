"""Waits until an execution has ended. The ledger announces every end as it commits it; nobody polls."""

import contextlib
import os
import selectors
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg
import tenacity

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.listening import Listener
from tenant_pipelines.ledger.operator_ledger import OperatorLedger

ENDED = "engine_execution"
"""Announced with the execution's id, in the transaction that closes it."""


class NotEnded(Exception):
    """The time to wait is over; the execution goes on. Args: execution: as it was seen last."""

    def __init__(self, execution: Execution, seconds: float) -> None:
        super().__init__(
            f"Workflow {execution.workflow_id} has not ended within {seconds:g} s; it is at step {execution.step} "
            f"and goes on. Follow it: tenant-pipelines workflow show {execution.workflow_id}"
        )
        self.execution = execution


class Endings:
    """Hears of the ends of executions, for any number of waiting threads over one connection.

    A process that serves many opens one and keeps it; threads may share it. Use it as a context manager.

    Args:
        url: `postgresql://` of the role control_plane. ledger: where an execution is looked up.
    """

    def __init__(self, url: str, ledger: OperatorLedger) -> None:
        self._url = url
        self._ledger = ledger
        self._lock = threading.Lock()
        self._waiting: dict[UUID, list[threading.Event]] = {}
        self._over = threading.Event()
        self._bell, self._rope = os.pipe()  # closing the rope ends the wait for announcements
        self._thread = threading.Thread(target=self._listen, name="endings", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more; whoever still waits is told when its own time is over."""
        if self._over.is_set():
            return
        self._over.set()
        os.close(self._rope)
        self._thread.join()
        os.close(self._bell)

    def await_end(self, execution_id: UUID, *, timeout: float) -> Execution:
        """The execution as it has ended. An outage of the database in between is waited for.

        Args: execution_id: its run id, that of its first run. timeout: seconds.
        Raises: NotEnded when the time is over; Refused NOT_FOUND, or UNAVAILABLE when the time ended in an outage.
        """
        deadline = time.monotonic() + timeout
        with self._told_of(execution_id) as told:
            while True:
                told.clear()  # before the look: what is announced after it wakes us again
                seen = self._look(execution_id)
                if isinstance(seen, Execution) and seen.state.closed:
                    return seen
                if not told.wait(max(deadline - time.monotonic(), 0.0)):
                    raise NotEnded(seen, timeout) if isinstance(seen, Execution) else seen

    def _look(self, execution_id: UUID) -> Execution | Refused:
        """The execution, or why it cannot be seen at present: the listener wakes everybody when it is back."""
        try:
            found = self._ledger.execution_of_run(execution_id)
        except Refused as refused:
            if refused.code is not Code.UNAVAILABLE:
                raise
            return refused
        if found is None:
            raise Refused(Code.NOT_FOUND, f"There is no execution {execution_id}.")
        return found

    @contextmanager
    def _told_of(self, execution_id: UUID) -> Iterator[threading.Event]:
        told = threading.Event()
        with self._lock:
            self._waiting.setdefault(execution_id, []).append(told)
        try:
            yield told
        finally:
            with self._lock:
                self._waiting[execution_id].remove(told)
                if not self._waiting[execution_id]:
                    del self._waiting[execution_id]

    def _listen(self) -> None:
        """The thread: connect, wake everybody since an end may have been missed, hear until the connection is lost."""
        while not self._over.is_set():
            with contextlib.suppress(psycopg.OperationalError, tenacity.RetryError):
                listener = self._connected()
                try:
                    self._tell_everybody()
                    self._hear(listener)
                finally:
                    listener.close()

    def _connected(self) -> Listener:
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(psycopg.OperationalError),
            stop=tenacity.stop_when_event_set(self._over),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            sleep=tenacity.sleep_using_event(self._over),
        )
        return tries(Listener, self._url, [ENDED], name="tenant-pipelines-endings")

    def _hear(self, listener: Listener) -> None:
        with selectors.DefaultSelector() as readable:
            readable.register(listener, selectors.EVENT_READ)
            readable.register(self._bell, selectors.EVENT_READ)
            while not self._over.is_set():
                readable.select()
                for heard in listener.heard():
                    self._tell(heard.payload)

    def _tell(self, payload: str) -> None:
        with self._lock:
            for told in self._waiting.get(_uuid(payload), ()):
                told.set()

    def _tell_everybody(self) -> None:
        with self._lock:
            waiting: Mapping[UUID, list[threading.Event]] = self._waiting
            for several in waiting.values():
                for told in several:
                    told.set()


def _uuid(payload: str) -> UUID:
    """Anybody may NOTIFY anything: what is no id is nobody's."""
    try:
        return UUID(payload)
    except ValueError:
        return UUID(int=0)
