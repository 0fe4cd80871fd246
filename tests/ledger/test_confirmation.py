"""The app plane's word: before it is waited for, in time, late, twice, from the wrong door, or never."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.confirmation import Received
from tenant_pipelines.operations.reconcile import Push, push_for, reconcile
from tenant_pipelines.operations.runs import RunState
from tenant_pipelines.operations.signal import signal
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, assert_sound, audit, dump

GOOD = {"success": True, "organizationId": "org-1"}
BAD = {"success": False, "error": "no room"}


def confirm(
    company: HeardCompany, execution: Execution, payload: dict[str, object] = GOOD, *, key: str = "1"
) -> Received | None:
    return signal(company.desk, execution.tenant_id, "appPlaneProvisioned", payload, key=key, claimant=TESTER)


def owed(company: HeardCompany, execution: Execution) -> list[str]:
    return company.desk.ledger.owed(execution.tenant_id)


def let_its_time_pass(company: HeardCompany, admin: psycopg.Connection, execution: Execution) -> Execution:
    admin.execute("update engine.executions set waiting_until = now() where id = %s", (execution.id,))
    assert reconcile(company.desk, company.execution(execution), by="guard") is Push.EXPIRE
    return company.execution(execution)


def test_in_time(company: HeardCompany, key: str) -> None:
    execution = company.provision(key)

    assert confirm(company, execution) is Received.COMPLETED

    closed = assert_sound(company, execution)
    assert (closed.state, closed.progress, closed.waiting_until) == (State.COMPLETED, 100, None)
    assert closed.result is not None
    assert closed.result["success"] is True
    assert closed.result["schemaName"] == f"tenant_{key}"
    assert owed(company, execution) == []


@pytest.mark.parametrize("moment", ["organization", "resources", "customer", "app plane"])
def test_before_it_is_waited_for(company: HeardCompany, systems: Systems, key: str, moment: str) -> None:
    received: list[Received | None] = []

    def early(seen: str) -> None:
        if seen == moment:
            received.append(confirm(company, company.desk.ledger.executions(limit=1)[0]))

    systems.before = early

    execution = company.provision(key)

    assert received == [Received.EARLY]
    assert assert_sound(company, execution).state is State.COMPLETED
    assert owed(company, execution) == []


def test_too_late_clears_the_mark_that_stayed(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = let_its_time_pass(company, admin, company.provision(key))
    assert execution.state is State.COMPLETED
    assert owed(company, execution) == ["provisioning_app_plane"]
    assert company.tenant(key).status is Status.ACTIVE

    assert confirm(company, execution) is Received.LATE

    assert owed(company, execution) == []
    assert_sound(company, execution)


def test_too_late_with_bad_news_leaves_the_mark(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = let_its_time_pass(company, admin, company.provision(key))

    assert confirm(company, execution, BAD) is Received.NO_EFFECT

    assert owed(company, execution) == ["provisioning_app_plane"]


def test_after_a_cancel_it_still_clears_the_mark(company: HeardCompany, key: str) -> None:
    execution = company.provision(key)
    signal(company.desk, execution.tenant_id, "provisioningCancelled", {}, key="2", claimant=TESTER)
    assert owed(company, execution) == ["provisioning_app_plane"]

    assert confirm(company, execution) is Received.LATE

    assert owed(company, execution) == []
    assert assert_sound(company, execution).state is State.CANCELLED


@pytest.mark.parametrize("second", ["1", "2"], ids=["the same delivery", "another delivery"])
def test_twice_is_once(company: HeardCompany, key: str, second: str) -> None:
    execution = company.provision(key)
    confirm(company, execution)
    before = company.execution(execution)

    assert confirm(company, execution, key=second) is Received.NO_EFFECT
    assert confirm(company, execution, BAD, key=second) is Received.NO_EFFECT

    assert company.execution(execution) == before
    assert_sound(company, execution)


def test_the_same_delivery_twice_leaves_no_second_trace(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    execution = company.provision(key)
    confirm(company, execution)
    before = dump(admin)

    confirm(company, execution)

    assert dump(admin) == before


def test_bad_news_fails_the_workflow_and_leaves_the_tenant_active(company: HeardCompany, key: str) -> None:
    execution = company.provision(key)

    assert confirm(company, execution, BAD) is Received.FAILED

    closed = assert_sound(company, execution)
    assert (closed.state, closed.failed_step) == (State.FAILED, "provisioning_app_plane")
    assert (closed.error_code, closed.waiting_until) == ("WebhookRejected", None)
    assert "App plane reported a failure: no room" in (closed.error or "")
    assert company.tenant(key).status is Status.ACTIVE
    assert owed(company, execution) == ["provisioning_app_plane"]


def test_bad_news_before_it_is_waited_for_fails_it_at_the_last_step(
    company: HeardCompany, systems: Systems, key: str
) -> None:
    def early(seen: str) -> None:
        if seen == "resources":
            confirm(company, company.desk.ledger.executions(limit=1)[0], BAD)

    systems.before = early

    execution = company.provision(key)

    assert assert_sound(company, execution).failed_step == "provisioning_app_plane"
    assert company.tenant(key).status is Status.ACTIVE


def test_during_a_rollback_it_has_no_effect(company: HeardCompany, systems: Systems, key: str) -> None:
    company.runs.hooks = False
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    due = company.provision(key)

    assert confirm(company, due) is Received.NO_EFFECT
    assert confirm(company, company.settle(due), key="2") is Received.NO_EFFECT
    assert assert_sound(company, due).state is State.FAILED


def test_never_completes_the_workflow_when_its_time_is_over(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    execution = company.provision(key)
    assert reconcile(company.desk, execution, by="guard") is Push.NOTHING

    let_its_time_pass(company, admin, execution)

    closed = assert_sound(company, execution)
    assert (closed.state, closed.progress) == (State.COMPLETED, 100)
    assert [line.marker for line in company.heard][-1] is Marker.COMPLETE
    assert "TimerFired" in [event["type"] for event in company.desk.ledger.history(closed.id)]


def test_the_guard_and_the_signal_in_the_same_moment_end_it_once(
    company: HeardCompany, admin: psycopg.Connection, key: str
) -> None:
    waiting = company.provision(key)
    confirm(company, waiting)

    assert company.desk.ledger.expire_confirmation(waiting, "provisioning_app_plane") is None
    assert_sound(company, waiting)


def test_a_tenant_without_a_workflow_is_not_found(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    tenants = [company.create(key).id, uuid4()]
    before = dump(admin)

    for tenant_id in tenants:
        for name, payload in [("appPlaneProvisioned", GOOD), ("provisioningCancelled", {})]:
            with pytest.raises(Refused) as refused:
                signal(company.desk, tenant_id, name, payload, key="1", claimant=TESTER)
            assert refused.value.code is Code.NOT_FOUND

    assert dump(admin) == before


WRONG: list[dict[str, object]] = [
    {},
    {"success": "yes"},
    {"success": 1},
    {"success": None},
    {"success": True, "organizationId": 7},
    {"success": True, "adminUserId": ["x"]},
    {"success": False, "error": "x" * 2001},
    {"success": True, "tenantKey": "acme"},
    {"success": True, "\ud800": 1},
]


def test_a_payload_that_is_wrong_changes_nothing(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = company.provision(key)
    before = dump(admin)

    for payload in WRONG:
        with pytest.raises(Refused) as refused:
            confirm(company, execution, payload)
        assert refused.value.code is Code.INVALID, payload
        assert refused.value.message.encode()

    assert dump(admin) == before


def test_an_unknown_signal_is_invalid(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = company.provision(key)
    before = dump(admin)

    with pytest.raises(Refused, match="appPlaneProvisioned and provisioningCancelled") as refused:
        signal(company.desk, execution.tenant_id, "deprovisioningCancelled", {}, key="1", claimant=TESTER)

    assert refused.value.code is Code.INVALID
    assert dump(admin) == before


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d of a character", "two\nlines"])
def test_words_that_postgresql_cannot_hold_are_kept_as_far_as_they_go(
    company: HeardCompany, key: str, text: str
) -> None:
    execution = company.provision(key)

    assert confirm(company, execution, {"success": False, "error": text}) is Received.FAILED

    assert text[0] in (assert_sound(company, execution).error or "")


def test_another_tenants_signal_does_not_reach_it(company: HeardCompany, key: str) -> None:
    execution, other = company.provision(key), company.provision(f"{key}x")

    confirm(company, other)

    assert company.execution(execution).state is State.FORWARD
    assert owed(company, execution) == ["provisioning_app_plane"]


def test_the_history_of_what_was_received(company: HeardCompany, admin: psycopg.Connection, key: str) -> None:
    execution = company.provision(key)
    confirm(company, execution)
    confirm(company, execution, key="2")

    events = [event for event in company.desk.ledger.history(execution.id) if "Signaled" in event["type"]]
    assert [event["details"] for event in events] == [{"signal": "appPlaneProvisioned", "by": "tester"}] * 2
    effects = [changes for _, _, action, changes in audit(admin, execution.tenant_id) if "signal" in str(action)]
    assert effects == [{"effect": "completed"}, {"effect": "no_effect"}]


def test_the_decision_to_expire_looks_at_nothing_but_the_time(company: HeardCompany, key: str) -> None:
    waiting, now = company.provision(key), datetime.now(UTC)

    for run in RunState:
        assert push_for(waiting, run, now) is Push.NOTHING
        assert push_for(waiting, run, now + timedelta(days=1)) is Push.EXPIRE
