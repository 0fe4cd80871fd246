"""What jobs can be made of."""

import ast
import os
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance

from tests.dagster.events import steps_with
from tests.dagster.toys import STEPS, carried_out

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path for part in ("tenant_pipelines", "resources", "sensors") for path in sorted((ROOT / part).rglob("*.py"))
]

FUTURE = """
{future}
import dagster as dg

class Wanted(dg.Config):
    tenant_id: str

def make():
    class Inner(dg.Config):
        tenant_id: str

    @dg.op
    def take(config: Inner) -> None: ...
    return take
"""


def test_an_output_of_nothing_can_carry_metadata(instance: DagsterInstance) -> None:
    @dg.op(out=dg.Out(dg.Nothing))
    def shows(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata({"state": "done"})

    @dg.job(executor_def=dg.in_process_executor)
    def showing() -> None:
        shows()

    result = showing.execute_in_process(instance=instance)

    [output] = instance.all_logs(result.run_id, of_type=DagsterEventType.STEP_OUTPUT)
    assert output.get_dagster_event().step_output_data.metadata == {"state": dg.MetadataValue.text("done")}


def test_a_node_goes_by_its_alias(stored: DagsterInstance) -> None:
    run = carried_out(stored)

    assert steps_with(stored, run.run_id, DagsterEventType.STEP_START) == STEPS[:3]


def test_two_ops_of_one_code_location_cannot_share_a_definition_name() -> None:
    """Why do and undo side have names of their own, and nodes are aliases."""

    def job(name: str) -> dg.JobDefinition:
        @dg.op(name="shared")
        def shared() -> None: ...

        @dg.job(name=name)
        def made() -> None:
            shared()

        return made

    with pytest.raises(dg.DagsterInvalidDefinitionError, match="shared"):
        dg.Definitions.validate_loadable(dg.Definitions(jobs=[job("one"), job("two")]))


def test_the_in_process_executor_runs_every_op_in_the_runs_own_process(stored: DagsterInstance) -> None:
    run = carried_out(stored)

    assert {record.get_dagster_event().pid for record in stored.all_logs(run.run_id, DagsterEventType.STEP_START)} == {
        os.getpid()
    }


def test_annotations_put_off_hide_an_ops_config_from_dagster() -> None:
    """Why no module of ours puts them off."""
    plain: dict[str, object] = {"__name__": "plain"}
    exec(FUTURE.format(future=""), plain)
    plain["make"]()  # type: ignore[operator]

    put_off: dict[str, object] = {"__name__": "put_off"}
    exec(FUTURE.format(future="from __future__ import annotations"), put_off)
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        put_off["make"]()  # type: ignore[operator]


def test_no_module_of_ours_puts_its_annotations_off() -> None:
    assert [path for path in PRODUCT if _puts_off(path)] == []


def _puts_off(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in nodes)
