"""The saga as a run sees it: what every op and the failure hook act through."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from dagster import OpExecutionContext

from tenant_pipelines.domain.retries import Group, Retries
from tenant_pipelines.domain.workflow import Kind
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.quick import Seen
from tenant_pipelines.ledger.run_ledger import RunLedger
from tenant_pipelines.operations.lost import BY_HAND
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import roll_back_of_run
from tenant_pipelines.operations.runs import Launch
from tenant_pipelines.runs.gateway import tags_of
from tenant_pipelines.saga.decisions import Again, Close
from tenant_pipelines.saga.engine import Engine, Taken, TakenBack
from tenant_pipelines.saga.ledger import Parked
from tenant_pipelines.saga.step import Step
from tenant_pipelines.saga.work import World
from tenant_pipelines.settings import Settings

OF_ONE_RUN = ("parked", "refused")
"""Tags that say how one run came about or ended; a re-execution takes them over, and Dagster cannot remove a tag."""


@dataclass(frozen=True)
class Saga:
    """One run's engine, and the desk for what follows from its end."""

    given: Settings
    database: Database
    world: World
    desk: Desk

    def forward(self, step: Step, context: OpExecutionContext) -> Taken | Parked:
        """Take the op's step.

        Raises: Refused, StepFailed, StepCancelled.
        """
        try:
            return self._engine(context).forward(step, context.log.info)
        finally:
            if context.run_tags.get("workflow_run_id") != context.run_id:
                self._tag(context)

    def backward(self, step: Step, context: OpExecutionContext) -> TakenBack | Parked:
        """Undo the op's step.

        Raises: Refused.
        """
        return self._engine(context).backward(step, context.log.info)

    def conclude(self, context: OpExecutionContext) -> Close | Again:
        """End the rollback, or say when it goes on.

        Raises: Refused.
        """
        return self._engine(context).conclude()

    def roll_back_of_run(self, run_id: str) -> None:
        """Start the rollback of the execution that this run is recorded for, if it is due."""
        roll_back_of_run(self.desk, UUID(run_id), by="hook")

    @cached_property
    def _seen(self) -> Seen:
        return Seen()

    @cached_property
    def _retries(self) -> Mapping[Group, Retries]:
        return self.given.retries()

    def _engine(self, context: OpExecutionContext) -> Engine:
        ledger = RunLedger(
            database=self.database,
            catalogue=self.desk.provisioning,
            run_id=UUID(context.run_id),
            tenant_id=UUID(context.op_config["tenant_id"]),
            claimant=BY_HAND,
            journal=self.desk.journal,
            sweep_after=self.given.sweep_after,
            seen=self._seen,
        )
        return Engine(
            ledger,
            self.world,
            self._retries,
            undo_retry_every=self.given.undo_retry_every,
            undo_retry_for=self.given.undo_retry_for,
            wait_in_worker=self.given.wait_in_worker,
        )

    def _tag(self, context: OpExecutionContext) -> None:
        """A run launched in Dagster's own UI learns whose it is only when it has claimed its execution.

        A re-executed one carries its parent's tags until then; what is not true of it is left empty. A continuation's
        are right from its launch.
        """
        run_id = UUID(context.run_id)
        execution = self.desk.ledger.execution_of_run(run_id)
        if execution is not None and execution.id == run_id:
            tags = tags_of(Launch(run_id, execution, Kind.FORWARD))
            taken_over = {name: "" for name in OF_ONE_RUN if context.run_tags.get(name)}
            context.instance.add_run_tags(context.run_id, {**tags, **taken_over})
