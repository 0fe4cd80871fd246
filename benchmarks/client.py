"""A client of the product in this process: starts provisionings as every door does, and hears of their end."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from dagster import DagsterInstance
from dotenv import dotenv_values

from benchmarks.failures import NotDone
from benchmarks.home import Home
from tenant_pipelines import settings
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.journal import Marker
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs.gateway import DagsterRuns

BENCHMARK = Claimant("benchmarks", "cli")
PLANS = {"pooled": "basic", "silo": "enterprise"}
PATIENCE = 300.0
"""Seconds after which an execution counts as stuck."""


class Silent:
    """A journal that keeps the terminal for the figures."""

    def note(
        self, marker: Marker, text: str, *, tenant_id: UUID, workflow_id: str, run_id: UUID, step: str | None
    ) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Started:
    """Moments in Unix seconds: of the call, and of its answer."""

    execution: Execution
    called: float
    answered: float


@dataclass(frozen=True, slots=True)
class Client:
    """The operator's desk, and a connection that listens."""

    desk: Desk
    instance: DagsterInstance
    given: settings.Settings
    listening: psycopg.Connection[Any]

    def create(self, tier: str) -> Tenant:
        """A tenant that is still to be provisioned."""
        key = f"bench{uuid4().hex[:10]}"
        wanted = new_tenant(
            key=key, name=key, admin_email=f"admin@{key}.example", plan_id=PLANS[tier], plans=self.given.plans
        )
        return tenants.create(self.desk, wanted, BENCHMARK)

    def start(self, tenant: Tenant) -> Started:
        """Start its provisioning."""
        called = time.time()
        execution = start(self.desk, tenant.id, BENCHMARK)
        return Started(execution, called, time.time())

    def heard(self, executions: Sequence[Execution]) -> dict[UUID, float]:
        """When the ledger's notice of each one's end arrived here.

        Raises: NotDone when one does not come.
        """
        waited_for = {str(execution.id): execution.id for execution in executions}
        found: dict[UUID, float] = {}
        for notice in self.listening.notifies(timeout=PATIENCE):
            if notice.payload in waited_for:
                found[waited_for[notice.payload]] = time.time()
            if len(found) == len(waited_for):
                return found
        missing = ", ".join(e.workflow_id for e in executions if e.id not in found)
        raise NotDone(f"not ended after {PATIENCE:.0f} s: {missing}")


@contextmanager
def connected(home: Home) -> Iterator[Client]:
    """A client of that stack. The settings of this process are the stack's from here on."""
    from tenant_pipelines.definitions import job  # noqa: PLC0415 - loads for seconds, for clients of a stack only

    for file in (home.folder.dagster_env, home.folder.settings_env):
        os.environ.update({name: value for name, value in dotenv_values(file).items() if value is not None})
    given = settings.load()
    url = given.database_url.get_secret_value()
    database = Database(url)
    try:
        with DagsterInstance.get() as instance, psycopg.connect(url, autocommit=True) as listening:
            listening.execute("listen engine_execution")
            desk = Desk(OperatorLedger(database), DagsterRuns(instance, job), PROVISIONING, Silent(), SystemClock())
            yield Client(desk, instance, given, listening)
    finally:
        database.close()
