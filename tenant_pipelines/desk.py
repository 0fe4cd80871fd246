"""Puts the operator's desk together from the settings; every door and every run opens one. Knows no Dagster."""

from tenant_pipelines import logs
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.runs import Runs
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.settings import Settings


def open_desk(given: Settings, database: Database, runs: Runs) -> Desk:
    """The desk on that database, with that gateway to Dagster."""
    return Desk(
        ledger=OperatorLedger(database),
        runs=runs,
        provisioning=PROVISIONING,
        journal=logs.journal(given.log_format, given.log_file),
        clock=SystemClock(),
        queue_limit=given.worker_queue_limit,
    )
