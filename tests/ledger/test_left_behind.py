"""What a rollback could not remove: listed exactly, until it is truly gone or the tenant's own again."""

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.tenant import Status
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.operations.start import start
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, assert_sound

NO = Answered("It", "said no")


@pytest.fixture
def failed(company: HeardCompany, systems: Systems, key: str) -> Execution:
    """A provisioning that failed at its deployment and could not remove the bucket."""
    company.undo_retry_for = 0.01
    systems.fail("deploy", NO, times=2)
    systems.fail("remove bucket", NO, times=999)
    execution = company.settle(company.provision(key))
    assert left(company, key) == {"s3 bucket"}
    systems.script.clear()
    return execution


def left(company: HeardCompany, key: str) -> set[str]:
    listed = company.desk.ledger.left_behind(company.tenant(key).id)
    assert bool(listed) == company.tenant(key).metadata.get("requiresManualCleanup", False)
    return {f"{thing.system} {thing.kind}" for thing in listed}


def test_another_try_that_fails_before_it_came_there_does_not_forget_it(
    company: HeardCompany, systems: Systems, failed: Execution
) -> None:
    systems.fail("organization", NO, times=2)

    again = company.settle(start(company.desk, failed.tenant_id, TESTER))

    closed = assert_sound(company, again)
    assert left(company, failed.tenant_key) == {"s3 bucket"} == systems.of(failed.tenant_key)
    assert closed.result is not None
    assert [thing["kind"] for thing in closed.result["leftBehind"]] == ["bucket"]


def test_another_try_that_undoes_it_takes_it_off_the_list(
    company: HeardCompany, systems: Systems, failed: Execution
) -> None:
    systems.fail("deploy", NO, times=2)

    again = company.settle(start(company.desk, failed.tenant_id, TESTER))

    assert_sound(company, again)
    assert left(company, failed.tenant_key) == set() == systems.of(failed.tenant_key)


def test_another_try_that_succeeds_makes_it_the_tenants_own(
    company: HeardCompany, systems: Systems, failed: Execution
) -> None:
    start(company.desk, failed.tenant_id, TESTER)

    assert company.tenant(failed.tenant_key).status is Status.ACTIVE
    assert left(company, failed.tenant_key) == set()
    assert "s3 bucket" in systems.of(failed.tenant_key)


def test_another_try_finds_it_under_the_name_it_was_made_with(
    company: HeardCompany, admin: psycopg.Connection, systems: Systems, failed: Execution
) -> None:
    placed = "select names from engine.placements where tenant_id = %s"
    ((kept,),) = admin.execute(placed, (failed.tenant_id,)).fetchall()

    start(company.desk, failed.tenant_id, TESTER)

    assert kept["bucket"] == f"tenant-{failed.tenant_key}"
    assert systems.calls.count("bucket") == 2
    assert [ref.name for ref in systems.objects if ref.kind == "bucket"] == [kept["bucket"]]


def test_progress_never_goes_back_whatever_happens(company: HeardCompany, systems: Systems, key: str) -> None:
    seen: list[int] = []
    systems.fail("deploy", NO, times=2)
    systems.fail("remove user", NO, times=2)
    systems.before = lambda _: seen.append(company.desk.ledger.executions(limit=1)[0].progress)

    execution = company.settle(company.provision(key))

    assert len(seen) > 15
    assert seen == sorted(seen)
    assert 5 <= seen[0] < seen[-1] <= assert_sound(company, execution).progress < 90
