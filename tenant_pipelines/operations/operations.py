"""What the operations work with: handed in once, where everything is put together."""

from dataclasses import dataclass

from tenant_pipelines.domain.clock import Clock
from tenant_pipelines.domain.journal import Journal
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations.runs import Runs
from tenant_pipelines.saga.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Desk:
    """The operator's desk: ledger, gateway to Dagster, catalogue, journal and clock.

    Args: queue_limit: runs that may wait for a worker before a start is refused; None: any number.
    """

    ledger: OperatorLedger
    runs: Runs
    provisioning: Catalogue
    journal: Journal
    clock: Clock
    queue_limit: int | None = None
