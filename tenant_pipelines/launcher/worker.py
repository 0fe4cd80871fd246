"""A warm worker: a copy of the process that has preloaded everything, with its own connection to Dagster."""

from collections.abc import Mapping
from contextlib import closing

from dagster import DagsterInstance, JobDefinition

from tenant_pipelines import settings
from tenant_pipelines.launcher import execution, without_code
from tenant_pipelines.launcher.channel import Assignment, Channel
from tenant_pipelines.launcher.loop import CarryOut, Loop
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches, Lease
from tenant_pipelines.operations.runs import NotSupported
from tenant_pipelines.runs import pairs
from tenant_pipelines.runs.storage import grouped


def main(channel: Channel, given: Assignment) -> None:
    """Carry out runs until told to end, or until nothing more can be expected of this process."""
    from tenant_pipelines.launcher.warm import PRELOADED  # noqa: PLC0415 - imports the definitions

    try:
        url = settings.load().database_url.get_secret_value()
        with DagsterInstance.get() as instance, closing(Database(url, size=1)) as database:
            pairs.check(instance)
            if (reason := PRELOADED.reason) is not None:
                without_code.rest(channel, instance, database, url=url, reason=reason)
                return
            Loop(
                channel,
                Launches(database),
                pool=given.pool,
                url=url,
                carry_out=_in_dagster(instance, PRELOADED.definitions),
                shield=execution.capture_interrupts,
            ).run()
    except (settings.InvalidSettings, NotSupported) as reason:
        channel.unfit(str(reason))


def _in_dagster(instance: DagsterInstance, definitions: str) -> CarryOut:
    jobs: Mapping[str, JobDefinition] = execution.jobs_of(definitions)

    def carry_out(lease: Lease) -> str:
        with grouped(instance, str(lease.run_id)):
            return execution.carry_out(instance, lease.run_id, jobs)

    return carry_out
