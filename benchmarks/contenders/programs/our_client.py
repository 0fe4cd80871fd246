"""Our client process: `python -m benchmarks.contenders.programs.our_client`, with the product's environment."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID, uuid4

from dagster import DagsterInstance

from benchmarks import idle_definitions
from benchmarks.contenders.programs.answering import answer
from tenant_pipelines import settings
from tenant_pipelines.desk import open_desk
from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.operations import tenants
from tenant_pipelines.operations.awaiting import Endings
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import new_tenant
from tenant_pipelines.operations.start import start
from tenant_pipelines.runs.gateway import DagsterRuns

WHO = Claimant("benchmarks", "cli")
PATIENCE = 300.0
AT_ONCE = 4
"""Threads that call `operations.start`, where many are started at once."""


@dataclass(frozen=True, slots=True)
class OurClient:
    """Starts provisionings as every door does, and hears of their ends."""

    desk: Desk
    endings: Endings
    given: settings.Settings

    def tenant(self, prefix: str = "bench") -> Tenant:
        """A tenant of the tier that has all steps, still to be provisioned."""
        key = f"{prefix}{uuid4().hex[:10]}"
        wanted = new_tenant(
            key=key, name=key, admin_email=f"admin@{key}.example", plan_id="enterprise", plans=self.given.plans
        )
        return tenants.create(self.desk, wanted, WHO)

    def one(self) -> float:
        """Seconds from the call to the knowledge of the result."""
        tenant = self.tenant()
        began = time.perf_counter()
        self.completed(self.start(tenant))
        return time.perf_counter() - began

    def many(self, count: int) -> float:
        """Seconds until the results of all are known."""
        made = [self.tenant() for _ in range(count)]
        began = time.perf_counter()
        for execution in self.start_all(made):
            self.completed(execution)
        return time.perf_counter() - began

    def begin(self, prefix: str, count: int) -> list[str]:
        """Start so many, and do not wait for them."""
        return [str(execution.id) for execution in self.start_all([self.tenant(prefix) for _ in range(count)])]

    def end(self, execution: str) -> float:
        """Wait for one that was begun; Unix seconds of the end."""
        self.completed_id(UUID(execution))
        return time.time()

    def start(self, tenant: Tenant) -> Execution:
        """As every door does."""
        return start(self.desk, tenant.id, WHO)

    def start_all(self, made: Sequence[Tenant]) -> list[Execution]:
        """Several at once."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(self.start, made))

    def completed(self, execution: Execution) -> None:
        """Raises RuntimeError for one that ends otherwise."""
        self.completed_id(execution.id)

    def completed_id(self, execution_id: UUID) -> None:
        """The same."""
        ended = self.endings.await_end(execution_id, timeout=PATIENCE)
        if ended.state is not State.COMPLETED:
            raise RuntimeError(f"{ended.workflow_id} is {ended.state}: {ended.error}")


def main() -> None:
    """Answer."""
    given = settings.load()
    url = given.database_url.get_secret_value()
    database = Database(url, size=AT_ONCE + 1)
    with DagsterInstance.get() as instance:
        desk = open_desk(given, database, DagsterRuns(instance, idle_definitions.job))
        with Endings(url, desk.ledger) as endings:
            client = OurClient(desk, endings, given)
            answer(client.one, client.many, {"begin": client.begin, "end": client.end})
    database.close()


if __name__ == "__main__":
    main()
