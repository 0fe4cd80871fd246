"""The guard, when something cannot be pushed on."""

import dagster as dg
import pytest
from dagster import SensorResult

from sensors.guard import workflow_guard
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations import reconcile
from tenant_pipelines.saga.catalogue import Catalogue
from tests.runs.stage import Stage


def tick(stage: Stage, cursor: str | None = None) -> SensorResult:
    context = dg.build_sensor_context(instance=stage.instance, resources={"desk": stage.desk}, cursor=cursor)
    result = workflow_guard(context)
    assert isinstance(result, SensorResult)
    return result


def test_one_that_cannot_be_pushed_on_is_told_and_keeps_nobody_from_the_next_page(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "QUIET", 0.0)
    monkeypatch.setattr(reconcile, "PAGE", 1)
    stubborn, lost = stage.start(stage.tenant("stubborn")), stage.start(stage.tenant("other"))
    stage.lose_worker_after("provisioning_database", stubborn)
    stage.lose_worker_after("provisioning_database", lost)
    replace = OperatorLedger.replace_lost_run

    def fails(self: OperatorLedger, execution: Execution, catalogue: Catalogue) -> Execution | None:
        if execution.id == stubborn.id:
            raise RuntimeError("fake-secret in the words of a driver")
        return replace(self, execution, catalogue)

    monkeypatch.setattr(OperatorLedger, "replace_lost_run", fails)

    first = tick(stage)
    second = tick(stage, first.cursor)

    assert first.skip_reason is not None
    assert first.skip_reason.skip_message == "1 running, 0 pushed on: -; 1 could not be: RuntimeError"
    assert second.skip_reason is not None
    assert second.skip_reason.skip_message == "1 running, 1 pushed on: continue"
    [continued] = stage.queued()
    assert continued.tags["workflow_run_id"] == str(lost.id)
