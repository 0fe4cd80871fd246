"""Runs that are copied from the first one of their kind are as if Dagster had made each of them."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.errors import DagsterSnapshotDoesNotExist
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import SnapshotsTable

from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.runs.making import Maker, Order
from tests.runs.stage import Stage

STEPS = [step.name for step in PROVISIONING.steps]
SAME = {"run_id", "run_config", "tags", "root_run_id", "parent_run_id"}
"""What each run has of its own."""


def order(first_node: str | None = None, **changed: Any) -> Order:
    run_id = str(uuid4())
    tags = {"tenant_key": run_id[:8], "kind": "forward"}
    root = str(uuid4()) if first_node else None
    return Order(run_id, "provision_tenant", {"tenant_id": str(uuid4())}, changed.get("tags", tags), first_node, root)


@pytest.fixture
def maker(stage: Stage) -> Maker:
    return Maker(stage.instance, stage.job)


def of_its_kind(run: DagsterRun) -> Mapping[str, Any]:
    return {name: value for name, value in run._asdict().items() if name not in SAME}


@pytest.mark.parametrize("first_node", [None, STEPS[6]])
def test_the_second_run_is_as_dagster_would_have_made_it(stage: Stage, maker: Maker, first_node: str | None) -> None:
    maker.make(order(first_node))
    wanted = order(first_node)

    copied = maker.make(wanted)

    again = Order(str(uuid4()), wanted.job, wanted.config, wanted.tags, first_node, wanted.root)
    made = Maker(stage.instance, stage.job).make(again)
    assert of_its_kind(copied) == of_its_kind(made)
    assert copied.tags == made.tags
    assert copied.tags_for_storage() == made.tags_for_storage()
    assert (copied.run_id, copied.run_config) == (wanted.run_id, wanted.config)
    assert (copied.root_run_id, copied.parent_run_id) == (wanted.root, wanted.root)
    assert stage.run(copied.run_id) == copied


def test_a_run_from_a_step_has_that_step_and_those_after_it(maker: Maker) -> None:
    for _ in range(2):
        assert maker.make(order(STEPS[6])).step_keys_to_execute == STEPS[6:]
        assert maker.make(order()).step_keys_to_execute == STEPS


def test_a_tag_of_the_first_run_does_not_show_in_the_second(maker: Maker) -> None:
    maker.make(order(tags={"kind": "continuation", "parked": STEPS[3]}))

    assert "parked" not in maker.make(order(tags={"kind": "continuation"})).tags


def test_a_copied_run_is_carried_out(stage: Stage) -> None:
    for key in ("acme", "neighbour"):
        stage.start(stage.tenant(key))

    assert [run.status for run in stage.carry_out_queue()] == [DagsterRunStatus.SUCCESS] * 2


def test_a_run_that_somebody_else_has_made_is_answered(stage: Stage, maker: Maker) -> None:
    maker.make(order())
    wanted = order()
    theirs = Maker(stage.instance, stage.job).make(wanted)

    assert maker.make(wanted) == theirs


def test_when_the_snapshots_have_been_removed_dagster_makes_them_anew(stage: Stage, maker: Maker) -> None:
    maker.make(order())
    _remove_snapshots(stage.instance)

    run = maker.make(order())

    assert stage.instance.get_execution_plan_snapshot(str(run.execution_plan_snapshot_id))
    assert maker.make(order()).job_snapshot_id == run.job_snapshot_id


def test_what_keeps_a_run_from_being_made_is_raised(
    stage: Stage, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DagsterSnapshotDoesNotExist

    maker.make(order())
    monkeypatch.setattr(DagsterInstance, "add_run", refuse)
    monkeypatch.setattr(DagsterInstance, "create_run_for_job", lambda *_, **__: refuse())

    with pytest.raises(DagsterSnapshotDoesNotExist):
        maker.make(order())


def _remove_snapshots(instance: DagsterInstance) -> None:
    """With the runs that need them."""
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        connection.execute(sqlalchemy.delete(SnapshotsTable))
        connection.commit()
