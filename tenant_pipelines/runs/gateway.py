"""The one gateway to Dagster: launches the runs that the ledger has decided on, and says how they stand.

`submit_run` and `launch_run` are semi-public; tests/runs pins them to the installed release.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable
from uuid import UUID

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, JobDefinition

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import UNDO, Kind
from tenant_pipelines.ledger.launches import LaunchState, Row
from tenant_pipelines.operations.requests import uuid_of
from tenant_pipelines.operations.runs import Asked, Launch, NotLaunched, RunState
from tenant_pipelines.runs import pairs
from tenant_pipelines.runs.making import Maker, Order

JOB_OF = {
    Kind.FORWARD: "provision_tenant",
    Kind.CONTINUATION: "provision_tenant",
    Kind.ROLLBACK: "rollback_tenant",
}

_CANCELLED = {DagsterRunStatus.CANCELED, DagsterRunStatus.CANCELING}
_HANDED_OVER = {DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING}
_NOT_BEGUN = {DagsterRunStatus.NOT_STARTED, *_HANDED_OVER}


@runtime_checkable
class KeepsRows(Protocol):
    """A launcher that knows by itself how each run stands that it was given: the pool's."""

    def launch_of(self, run_id: UUID) -> Row | None:
        """The row of a run; None when it was never handed over."""
        ...


class DagsterRuns:
    """Fulfils `operations.runs.Runs`.

    Args:
        instance: Dagster's. job: answers the job with that name, bound to its resources.
        check: raises for an instance that is not set up as we need it.
    Raises: NotSupported.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        job: Callable[[str], JobDefinition],
        *,
        check: Callable[[DagsterInstance], None] = pairs.check,
    ) -> None:
        check(instance)
        self._instance = instance
        self._maker = Maker(instance, job)

    def launch(self, launch: Launch) -> None:
        """Create the run and hand it over; again with the same id: only what is still missing.

        Raises: NotLaunched, whatever went wrong in Dagster or its database.
        """
        try:
            run = self._instance.get_run_by_id(str(launch.run_id)) or self._create(launch)
            if run.status is DagsterRunStatus.NOT_STARTED:
                self._instance.submit_run(run.run_id, None)  # type: ignore[arg-type]  # our coordinators do not ask
            elif self._was_dropped(run):
                self._instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # nor does this launcher
        except Exception as error:
            raise NotLaunched(f"run {launch.run_id}: {type(error).__name__}") from error

    def state(self, run_id: UUID) -> RunState:
        """How the run stands."""
        run = self._instance.get_run_by_id(str(run_id))
        if run is None:
            return RunState.MISSING
        if run.status is DagsterRunStatus.NOT_STARTED or self._was_dropped(run):
            return RunState.MISSING  # created and never handed over
        if run.is_finished:
            return _end_of(run)
        return self._state_by_row(run)

    def asked(self, run_id: UUID) -> Asked | None:
        """What the run was made for."""
        run = self._instance.get_run_by_id(str(run_id))
        return None if run is None else Asked(_tenant_of(run), run.status not in _NOT_BEGUN, run.is_finished)

    def close_lost(self, run_id: UUID, why: str) -> None:
        """End it in Dagster, where it has not ended."""
        run = self._instance.get_run_by_id(str(run_id))
        if run is None or run.is_finished:
            return
        if run.status is DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, why)
        else:
            self._instance.report_run_failed(run, why)

    def _was_dropped(self, run: DagsterRun) -> bool:
        """Whether whoever handed it over has died between telling Dagster and writing the row."""
        return run.status in _HANDED_OVER and self._keeps_rows() and self._row(run) is None

    def _state_by_row(self, run: DagsterRun) -> RunState:
        """Of a run that has not ended as far as Dagster knows: the pool may know better."""
        row = self._row(run)
        if row is None or row.state in (LaunchState.QUEUED, LaunchState.TAKEN):
            return RunState.ALIVE
        now = self._instance.get_run_by_id(run.run_id)  # it may have ended between the two looks
        return RunState.MISSING if now is None else _end_of(now)

    def _keeps_rows(self) -> bool:
        """By its name first: another launcher need not be loaded for this."""
        return pairs.pair_of(self._instance)[1] == pairs.WARM

    def _row(self, run: DagsterRun) -> Row | None:
        launcher = self._instance.run_launcher if self._keeps_rows() else None
        return launcher.launch_of(UUID(run.run_id)) if isinstance(launcher, KeepsRows) else None

    def _create(self, launch: Launch) -> DagsterRun:
        return self._maker.make(
            Order(
                run_id=str(launch.run_id),
                job=JOB_OF[launch.kind],
                config={"tenant_id": str(launch.execution.tenant_id)},
                tags=tags_of(launch),
                first_node=_node(launch.kind, launch.first_step) if launch.first_step else None,
                root=str(launch.execution.id) if launch.run_id != launch.execution.id else None,
            )
        )


def tags_of(launch: Launch) -> Mapping[str, str]:
    """The contract's tags; continuations and rollbacks are grouped with the execution's first run in the UI."""
    execution = launch.execution
    tags = {
        "tenant_id": str(execution.tenant_id),
        "tenant_key": execution.tenant_key,
        "tier": execution.tier.value,
        "workflow_id": execution.workflow_id,
        "workflow_run_id": str(execution.id),
        "generation": str(execution.generation),
        "kind": launch.kind.value,
    }
    if launch.parked is not None:
        tags["parked"] = launch.parked
    if launch.run_id != execution.id:
        tags |= {"dagster/root_run_id": str(execution.id), "dagster/parent_run_id": str(execution.id)}
    return tags


def _end_of(run: DagsterRun) -> RunState:
    return RunState.CANCELLED if run.status in _CANCELLED else RunState.ENDED


def _tenant_of(run: DagsterRun) -> UUID | None:
    """Whom the whole of `provision_tenant` was launched for; None for any other run."""
    job = JOB_OF[Kind.FORWARD]
    if run.job_name != job or run.resolved_op_selection:
        return None
    try:
        return uuid_of(run.run_config.get("tenant_id"), "tenant_id")
    except Refused:
        return None


def _node(kind: Kind, step: str) -> str:
    return f"{UNDO}{step}" if kind is Kind.ROLLBACK else step
