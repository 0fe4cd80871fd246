"""The real pool, with one worker: a run that sleeps through a wait gives the worker to a run that has none."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from dagster import Definitions, ResourceDefinition

from benchmarks.idle_tenants import SLOW
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.plans import TIER_OF_PLAN
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.provisioning.jobs import SAGA, provision_job, rollback_job
from tenant_pipelines.runs.gateway import DagsterRuns
from tests.fakes.company import TESTER, Noted
from tests.launcher.dagster_stage import RealStage, control_plane, real
from tests.launcher.pools import until

__all__ = ["control_plane", "real"]

MADE = Definitions(
    jobs=[provision_job(), rollback_job()], resources={SAGA: ResourceDefinition.none_resource("never asked for")}
)
"""The jobs as whoever makes their runs needs them; the pool has its own."""


@pytest.fixture
def desk(real: RealStage) -> Iterator[Desk]:
    real.environment["TENANT_PIPELINES_WAIT_IN_WORKER"] = "3600"
    database = Database(real.url, patience=5)
    runs = DagsterRuns(real.instance, MADE.resolve_job_def)
    yield Desk(OperatorLedger(database), runs, PROVISIONING, Noted([]), SystemClock())
    database.close()


def provision(desk: Desk, key: str) -> Execution:
    wanted = new_tenant(key=key, name=key, admin_email=f"admin@{key}.example", plan_id="enterprise", plans=TIER_OF_PLAN)
    return start(desk, tenants.create(desk, wanted, TESTER).id, TESTER)


def now(desk: Desk, execution: Execution) -> Execution:
    found = desk.ledger.execution_of_run(execution.id)
    assert found is not None
    return found


def test_a_run_that_sleeps_through_an_hour_holds_up_nobody(real: RealStage, desk: Desk) -> None:
    with closing(real.pool("--size", "1", definitions="benchmarks.idle_definitions")) as pool:
        pool.await_line("ready: 1 worker", within=60)
        sleeper = provision(desk, f"{SLOW}one")
        until(lambda: now(desk, sleeper).message == "a run that takes hours", within=30)
        assert not now(desk, sleeper).parked  # it has a step of 20 s before it, and sleeps

        other = provision(desk, "other")

        until(lambda: now(desk, other).state is State.COMPLETED, within=30, what=lambda: str(now(desk, other)))
        rests = now(desk, sleeper)
        assert rests.state is State.FORWARD
        assert (rests.parked_step, rests.losses) == ("provisioning_infrastructure", 0)
        assert pool.said("lost") == []
