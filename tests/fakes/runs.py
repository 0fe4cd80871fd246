"""The gateway to Dagster, without Dagster: a launched run is carried out at once, in this thread."""

import contextlib
from collections.abc import Callable
from uuid import UUID

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.workflow import Kind
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.reconcile import roll_back_of_run
from tenant_pipelines.operations.runs import Asked, Launch, RunState
from tenant_pipelines.saga.engine import Engine, StepCancelled, StepFailed
from tenant_pipelines.saga.ledger import Parked


class Killed(BaseException):
    """The worker is gone, as after SIGKILL: nothing of the run is told to anybody."""


class InlineRuns:
    """Fulfils `operations.runs.Runs`. `hooks` off: the process died before the failure hook."""

    def __init__(self, engine: Callable[[Launch], Engine]) -> None:
        self.engine = engine
        self.desk: Desk | None = None
        self.hooks = True
        self.lost_launches = 0
        self.states: dict[UUID, RunState] = {}
        self.launched: list[Launch] = []
        self.refused: list[Refused] = []
        self.log: list[str] = []
        self.parked: list[Parked] = []

    def launch(self, launch: Launch) -> None:
        if self.lost_launches:
            self.lost_launches -= 1
            return
        if launch.run_id in self.states:
            return
        self.launched.append(launch)
        self.states[launch.run_id] = RunState.ENDED
        with contextlib.suppress(Killed):
            failed = self._carry_out(launch)
            if failed and self.hooks:  # not where the failure is still being handled: as in a run of its own
                assert self.desk is not None
                roll_back_of_run(self.desk, launch.run_id, by="hook")

    def state(self, run_id: UUID) -> RunState:
        return self.states.get(run_id, RunState.MISSING)

    def asked(self, run_id: UUID) -> Asked | None:
        return None

    def close_lost(self, run_id: UUID, why: str) -> None:
        self.states[run_id] = RunState.ENDED

    def _carry_out(self, launch: Launch) -> bool:
        """Take the steps, until one waits for longer; answers whether one has failed."""
        engine = self.engine(launch)
        assert self.desk is not None
        try:
            if launch.kind is Kind.ROLLBACK:
                return self._roll_back(engine, launch.first_step)
            first = self.desk.provisioning.step(launch.first_step).number if launch.first_step else 1
            for step in self.desk.provisioning.steps[first - 1 :]:
                if isinstance(parked := engine.forward(step, self.log.append), Parked):
                    self.parked.append(parked)
                    return False
        except Refused as refused:
            self.refused.append(refused)
        except (StepFailed, StepCancelled):
            return True
        return False

    def _roll_back(self, engine: Engine, first: str | None) -> bool:
        assert self.desk is not None
        before_pivot = self.desk.provisioning.before_pivot
        highest = self.desk.provisioning.step(first).number if first else before_pivot[-1].number
        for step in reversed(before_pivot[1:highest]):
            if isinstance(parked := engine.backward(step, self.log.append), Parked):
                self.parked.append(parked)
                return False
        engine.conclude()
        return False
