"""The quick way through a step: whatever somebody does to the execution meanwhile is seen as on the usual way."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import Execution, Side
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.ledger import Begun, CancelRequested, Parked, Settled
from tenant_pipelines.saga.outcomes import Done
from tests.fakes.company import TESTER
from tests.operations.stage import HeardCompany, all_of, new_key

FIRST, SECOND, *_ = PROVISIONING.steps
NOTHING = Done([])
LOCK = "lock_execution_of_run"
SOON = 20.0


class Scene:
    """A run that has taken its first step."""

    def __init__(self, company: HeardCompany) -> None:
        self.company = company
        tenant = company.create(new_key(), plan="free")
        self.execution: Execution = company.desk.ledger.claim_provision(tenant.id, version=1, claimant=TESTER, given={})
        ledger = company.engine_of(self.execution.id, tenant.id).ledger
        assert isinstance(ledger, RunLedger)
        self.ledger = ledger
        self.ledger.finish(FIRST, self.begin(FIRST).attempt, NOTHING)

    def begin(self, step: object = SECOND) -> Begun:
        begun = self.ledger.begin(step, Side.DO, lambda _: {})  # type: ignore[arg-type]
        assert isinstance(begun, Begun)
        return begun

    def cancel(self) -> None:
        self.company.desk.ledger.request_cancel(self.execution.workflow_id, TESTER)

    def state_of(self, admin: psycopg.Connection, step: str = SECOND.name) -> str | None:
        query = "select state from engine.steps where execution_id = %s and step = %s"
        found = admin.execute(query, [self.execution.id, step]).fetchone()
        return found[0] if found else None


@pytest.fixture
def scene(company: HeardCompany) -> Scene:
    return Scene(company)


def test_it_is_gone_while_nobody_touches_the_execution(scene: Scene, asked: list[str]) -> None:
    scene.ledger.finish(SECOND, scene.begin().attempt, NOTHING)

    assert asked == ["step_to_begin", "begin_step", "finish_attempt"]


def test_what_it_shows_is_what_the_usual_way_shows(scene: Scene) -> None:
    scene.begin()

    shown = scene.company.execution(scene.execution)
    assert (shown.step, shown.progress, shown.message) == (SECOND.name, SECOND.percent, SECOND.activity)


def test_a_cancel_between_two_steps_is_seen(scene: Scene, admin: psycopg.Connection) -> None:
    scene.cancel()

    with pytest.raises(CancelRequested):
        scene.begin()

    assert scene.state_of(admin) is None


def test_a_cancel_between_look_and_intent_is_seen(
    scene: Scene, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transaction, "_run", _first(scene.cancel, "begin_step"))

    with pytest.raises(CancelRequested):
        scene.begin()

    assert scene.state_of(admin) is None


def _first(act: Callable[[], None], query: str) -> Callable[..., object]:
    """Right before that query is asked for the first time."""
    run, waiting = Transaction._run, [act]

    def acting(tx: Transaction, asked: str, values: Mapping[str, object]) -> object:
        if asked == query and waiting:
            waiting.pop()()
        return run(tx, asked, values)

    return acting


def test_what_was_done_before_a_cancel_is_recorded(scene: Scene, admin: psycopg.Connection, asked: list[str]) -> None:
    attempt = scene.begin().attempt
    scene.cancel()
    asked.clear()

    scene.ledger.finish(SECOND, attempt, NOTHING)

    assert LOCK in asked
    assert scene.state_of(admin) == "done"


def test_a_run_that_was_replaced_begins_and_finishes_nothing(scene: Scene, admin: psycopg.Connection) -> None:
    attempt = scene.begin().attempt
    admin.execute("update engine.executions set run_id = %s where id = %s", [uuid4(), scene.execution.id])

    with pytest.raises(Refused, match="acts for workflow"):
        scene.ledger.finish(SECOND, attempt, NOTHING)
    with pytest.raises(Refused, match="acts for workflow"):
        scene.begin()

    assert scene.state_of(admin) == "started"


def test_what_one_run_has_seen_is_of_no_use_to_another(scene: Scene, admin: psycopg.Connection) -> None:
    another = replace(scene.ledger, run_id=uuid4())

    with pytest.raises(Refused, match="does not belong to a running workflow"):
        another.begin(SECOND, Side.DO, lambda _: {})

    assert scene.state_of(admin) is None


def test_a_run_that_is_to_be_handed_over_parks(scene: Scene, admin: psycopg.Connection) -> None:
    admin.execute("update engine.runs set hand_over = true where run_id = %s", [scene.execution.run_id])

    assert isinstance(scene.ledger.begin(SECOND, Side.DO, lambda _: {}), Parked)

    assert scene.state_of(admin) is None


def test_a_step_that_is_done_is_not_begun_again(scene: Scene) -> None:
    scene.ledger.finish(SECOND, scene.begin().attempt, NOTHING)

    assert isinstance(scene.ledger.begin(SECOND, Side.DO, lambda _: {}), Settled)


def test_somebody_who_holds_the_lock_and_tells_something_is_waited_for(
    scene: Scene, admin: psycopg.Connection, control_plane: str
) -> None:
    """The number of the next event was looked up before; the usual way looks it up under the lock."""
    attempt = scene.begin().attempt
    finishing = threading.Thread(target=scene.ledger.finish, args=(SECOND, attempt, NOTHING))
    with psycopg.connect(control_plane) as other:
        other.execute("select from engine.executions where id = %s for update", [scene.execution.id])
        finishing.start()
        _wait_until_somebody_waits(admin)
        tell = """
            insert into engine.history (execution_id, event_id, type)
            select %(id)s, 1 + max(event_id), 'Told' from engine.history where execution_id = %(id)s
        """
        other.execute(tell, {"id": scene.execution.id})
    finishing.join(SOON)

    assert scene.state_of(admin) == "done"
    history = "select event_id, type from engine.history where execution_id = %s order by event_id desc limit 2"
    rows: list[Any] = all_of(admin, history, scene.execution.id)
    (last, kind), (before, told) = rows
    assert (last - before, told, kind) == (1, "Told", "ActivityTaskCompleted")


def _wait_until_somebody_waits(admin: psycopg.Connection) -> None:
    waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    deadline = time.monotonic() + SOON
    while admin.execute(waiting).fetchone() is None:
        assert time.monotonic() < deadline
