"""A warm worker: a copy of the process that has preloaded everything, with its own connection to Dagster."""

from collections.abc import Mapping
from contextlib import closing

from dagster import DagsterInstance, JobDefinition

from tenant_pipelines import settings
from tenant_pipelines.launcher import execution
from tenant_pipelines.launcher.channel import Assignment, Channel
from tenant_pipelines.launcher.loop import CarryOut, Loop
from tenant_pipelines.launcher.preload import Preloaded, import_definitions
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches, Lease
from tenant_pipelines.operations.runs import NotSupported
from tenant_pipelines.runs import pairs
from tenant_pipelines.runs.storage import grouped


def main(channel: Channel, given: Assignment) -> None:
    """Carry out runs until told to end, or until nothing more can be expected of this process."""
    from tenant_pipelines.launcher.warm import PRELOADED  # noqa: PLC0415 - imports the definitions

    loaded = PRELOADED if PRELOADED.error is None else import_definitions(given.definitions)
    if loaded.error is not None:
        channel.tell(f"code location {given.definitions} cannot be imported: {loaded.error}")
    try:
        url = settings.load().database_url.get_secret_value()
        with DagsterInstance.get() as instance, closing(Database(url, size=1)) as database:
            pairs.check(instance)
            Loop(
                channel,
                Launches(database),
                pool=given.pool,
                url=url,
                carry_out=_in_dagster(instance, loaded),
                shield=execution.capture_interrupts,
            ).run()
    except (settings.InvalidSettings, NotSupported) as reason:
        channel.unfit(str(reason))


def _in_dagster(instance: DagsterInstance, loaded: Preloaded) -> CarryOut:
    if loaded.error is not None:
        why = (
            f"code location {loaded.definitions} cannot be imported: {loaded.error}\n"
            f"Way out: mend it, then send the pool SIGHUP, or start it again: tenant-pipelines workers"
        )
        return lambda lease: execution.refuse(instance, lease.run_id, why)
    jobs: Mapping[str, JobDefinition] = execution.jobs_of(loaded.definitions)

    def carry_out(lease: Lease) -> str:
        with grouped(instance, str(lease.run_id)):
            return execution.carry_out(instance, lease.run_id, jobs)

    return carry_out
