"""What the database itself holds of waits: the migration, and the rule of its columns."""

import psycopg
import pytest

from tenant_pipelines.domain.failures import Answered
from tenant_pipelines.domain.outcomes import Pending
from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.ledger import migrate
from tenant_pipelines.operations.signal import signal
from tests.fakes.company import TESTER
from tests.fakes.systems import Systems
from tests.operations.stage import HeardCompany, assert_sound


def test_the_migration_may_be_run_again_on_a_database_in_use(
    admin: psycopg.Connection, company: HeardCompany, key: str
) -> None:
    execution = company.provision(key)
    script = (migrate.SCRIPTS / "0006_parking.sql").read_bytes()

    for _ in range(2):
        admin.execute(script)

    assert company.execution(execution) == execution


@pytest.mark.parametrize("column", ["parked_at", "wake_at"])
def test_an_execution_is_parked_or_it_is_not(
    admin: psycopg.Connection, company: HeardCompany, key: str, column: str
) -> None:
    execution = company.provision(key)

    with pytest.raises(psycopg.errors.CheckViolation):
        admin.execute(f"update engine.executions set {column} = now() where id = %s".encode(), [execution.id])


def test_parking_and_cancelling_announce_that_somebody_is_to_look(
    admin: psycopg.Connection, company: HeardCompany, systems: Systems, key: str
) -> None:
    systems.fail("apply", Pending("Terraform plans", {"run_id": "run-1"}, 60.0))
    company.retries = dict.fromkeys(Group, Retries(3, 600, 600, 20, 3600))
    admin.execute("listen engine_wake")

    parked = company.provision(key)
    assert heard(admin) == [str(parked.id)]
    signal(company.desk, parked.tenant_id, "provisioningCancelled", {}, key="1", claimant=TESTER)
    assert heard(admin) == [str(parked.id)]
    company.settle(parked)

    assert_sound(company, parked)
    admin.execute("unlisten engine_wake")


def test_another_pass_of_a_rollback_is_announced(
    admin: psycopg.Connection, company: HeardCompany, systems: Systems, key: str
) -> None:
    company.undo_retry_every = 600
    systems.fail("bucket", Answered("S3", "said no"), times=2)
    systems.fail("remove bucket", Answered("S3", "said no"), times=2)
    admin.execute("listen engine_wake")

    resting = company.provision(key)

    assert resting.next_undo_at is not None
    assert str(resting.id) in heard(admin)[-1:]
    admin.execute("unlisten engine_wake")
    admin.execute("update engine.executions set next_undo_at = now() where id = %s", [resting.id])
    company.settle(resting)


def heard(admin: psycopg.Connection) -> list[str]:
    """What has been announced since the last look."""
    return [notice.payload for notice in admin.notifies(timeout=0.2)]
