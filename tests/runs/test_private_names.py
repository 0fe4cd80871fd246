"""What is not public in Dagster: the one list of it, and what each name has to be in the installed release.

A new Dagster is first tried against this file. What a name does, where its signature does not tell, is held by the
tests of the module that uses it.
"""

import ast
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster
import pytest
from dagster import DagsterInstance, DagsterRun, JobDefinition
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    PIPELINE_EVENTS,
    EngineEventData,
)
from dagster._core.execution.api import create_execution_plan, execute_run_iterator
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step, inner_plan_execution_iterator
from dagster._core.execution.plan.execute_step import core_dagster_event_sequence_for_step
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage

from tenant_pipelines.runs.event_table import COLUMNS
from tenant_pipelines.runs.pairs import PINNED
from tenant_pipelines.runs.storage import (
    PooledEventLogStorage,
    PooledPostgresStorage,
    PooledRunStorage,
    PooledScheduleStorage,
)

ROOT = Path(__file__).parents[2]
PRODUCT = [
    path for part in ("tenant_pipelines", "resources", "sensors") for path in sorted((ROOT / part).rglob("*.py"))
]

IMPORTED: dict[str, dict[str, set[str]]] = {
    "tenant_pipelines/provisioning/in_turn.py": {
        "dagster._core.definitions.decorators.op_decorator": {"DecoratedOpFunction"},
        "dagster._core.errors": {"DagsterExecutionStepExecutionError", "DagsterInvariantViolationError"},
        "dagster._core.events": {"EngineEventData"},
        "dagster._core.execution.api": {"ExecuteRunWithPlanIterable"},
        "dagster._core.execution.compute_logs": {"create_compute_log_file_key"},
        "dagster._core.execution.context.compute": {"enter_execution_context"},
        "dagster._core.execution.context.system": {
            "PlanExecutionContext",
            "PlanOrchestrationContext",
            "StepExecutionContext",
        },
        "dagster._core.execution.context_creation_job": {"PlanExecutionContextManager"},
        "dagster._core.execution.plan.execute_plan": {"_trigger_hook", "dagster_event_sequence_for_step"},
        "dagster._core.execution.plan.objects": {"StepSuccessData", "TypeCheckData"},
        "dagster._core.execution.plan.outputs": {"StepOutputData", "StepOutputHandle"},
        "dagster._core.execution.plan.plan": {"ExecutionPlan"},
        "dagster._core.execution.plan.utils": {"op_execution_error_boundary"},
        "dagster._core.execution.retries": {"RetryMode"},
        "dagster._utils.error": {"serializable_error_info_from_exc_info"},
        "dagster._utils.timing": {"time_execution_scope"},
    },
    "tenant_pipelines/runs/compute_logs.py": {
        "dagster._core.storage.compute_log_manager": {"CapturedLogContext", "ComputeIOType"},
        "dagster._core.storage.local_compute_log_manager": {"IO_TYPE_EXTENSION", "LocalComputeLogManager"},
        "dagster._serdes": {"ConfigurableClassData"},
    },
    "tenant_pipelines/runs/event_table.py": {
        "dagster._core.storage.event_log": {"SqlEventLogStorageTable"},
    },
    "tenant_pipelines/runs/making.py": {
        "dagster._core.code_pointer": {"ModuleCodePointer"},
        "dagster._core.errors": {"DagsterRunAlreadyExists", "DagsterSnapshotDoesNotExist"},
        "dagster._core.execution.api": {"create_execution_plan"},
        "dagster._core.origin": {"JobPythonOrigin", "RepositoryPythonOrigin"},
        "dagster._core.remote_origin": {"RegisteredCodeLocationOrigin", "RemoteJobOrigin", "RemoteRepositoryOrigin"},
    },
    "tenant_pipelines/runs/storage.py": {
        "dagster._config": {"UserConfigSchema"},
        "dagster._core.events": {"ASSET_CHECK_EVENTS", "ASSET_EVENTS", "PIPELINE_EVENTS"},
        "dagster._core.snap": {"ExecutionPlanSnapshot"},
        "dagster._core.storage.base_storage": {"DagsterStorage"},
        "dagster._core.storage.config": {"pg_config"},
        "dagster._core.storage.event_log": {"EventLogStorage"},
        "dagster._core.storage.runs": {"RunStorage"},
        "dagster._core.storage.schedules": {"ScheduleStorage"},
        "dagster._serdes": {"ConfigurableClass", "ConfigurableClassData"},
        "dagster_postgres.event_log": {"PostgresEventLogStorage"},
        "dagster_postgres.run_storage": {"PostgresRunStorage"},
        "dagster_postgres.schedule_storage": {"PostgresScheduleStorage"},
        "dagster_postgres.utils": {"pg_url_from_config"},
    },
    "tenant_pipelines/launcher/execution.py": {
        "dagster._core.definitions.job_base": {"InMemoryJob"},
        "dagster._core.events": {"EngineEventData"},
        "dagster._core.execution.api": {"execute_run_iterator"},
        "dagster._utils.error": {"serializable_error_info_from_exc_info"},
        "dagster._utils.interrupts": {"capture_interrupts"},
    },
    "tenant_pipelines/launcher/run_launcher.py": {
        "dagster._core.launcher": {"CheckRunHealthResult", "LaunchRunContext", "RunLauncher", "WorkerStatus"},
        "dagster._serdes": {"ConfigurableClass", "ConfigurableClassData"},
    },
}
"""Everything that is imported from below an underscore in Dagster, or from dagster_postgres (whose storages are made to
be named in dagster.yaml, not to be inherited from), and by whom."""

METHODS: dict[str, set[str]] = {
    "create_run_for_job": {
        "execution_plan",
        "run_id",
        "run_config",
        "tags",
        "root_run_id",
        "parent_run_id",
        "remote_job_origin",
        "job_code_origin",
    },
    "add_run": {"dagster_run"},
    "submit_run": {"run_id", "workspace"},
    "launch_run": {"run_id", "workspace"},
    "get_ref": set(),
    "report_run_failed": {"dagster_run", "message"},
    "report_run_canceled": {"dagster_run", "message"},
    "report_run_canceling": {"run"},
    "report_engine_event": {"message", "dagster_run", "engine_event_data"},
}
"""Methods of the instance that no documentation lists, and the parameters that we give."""


def _imports(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and _is_private(node.module or ""):
            found.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update({alias.name: {"*"} for alias in node.names if _is_private(alias.name)})
    return found


def _is_private(module: str) -> bool:
    package, *rest = module.split(".")
    return package == "dagster_postgres" or (package.startswith("dagster") and any(part[0] == "_" for part in rest))


def _called(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def _parameters(of: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(of).parameters)


# The list


def test_the_release_is_the_pinned_one() -> None:
    assert dagster.__version__ == PINNED


def test_the_list_of_imports_is_complete() -> None:
    found = {str(path.relative_to(ROOT)): imports for path in PRODUCT if (imports := _imports(path))}

    assert found == IMPORTED


def test_the_list_of_methods_is_not_longer_than_it_has_to_be() -> None:
    called = {name for path in PRODUCT for name in _called(path)}

    assert called >= METHODS.keys()


def _names() -> list[tuple[str, str]]:
    return sorted({(module, name) for of in IMPORTED.values() for module, names in of.items() for name in names})


@pytest.mark.parametrize(("module", "name"), _names())
def test_every_name_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_the_parameters_that_it_is_given(method: str) -> None:
    assert _parameters(getattr(DagsterInstance, method)) >= METHODS[method]


# Making runs


def test_a_plan_is_made_for_a_selection_of_steps() -> None:
    assert list(inspect.signature(create_execution_plan).parameters)[:3] == [
        "job",
        "run_config",
        "step_keys_to_execute",
    ]


def test_a_run_can_be_copied_under_another_id() -> None:
    run = DagsterRun(job_name="any", run_id="1", run_config={"a": 1}, tags={"b": "2"})

    copy = run._replace(run_id="2", run_config={}, tags={}, root_run_id="3", parent_run_id="3")

    assert (copy.run_id, copy.root_run_id, copy.parent_run_id, copy.job_name) == ("2", "3", "3", "any")
    assert run.run_id == "1"


# Carrying out


def test_a_run_is_carried_out_from_its_job_in_memory() -> None:
    assert list(inspect.signature(execute_run_iterator).parameters) == [
        "job",
        "dagster_run",
        "instance",
        "resume_from_failure",
    ]


def test_an_error_of_dagsters_own_can_be_told() -> None:
    try:
        raise LookupError("what was wrong")
    except LookupError:
        told = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
    assert told.error is not None
    assert "what was wrong" in told.error.message


def test_interrupts_are_captured_in_a_context() -> None:
    with capture_interrupts():
        pass


def test_a_step_is_left_to_whoever_is_named_in_its_context() -> None:
    assert "return self._step_launcher" in inspect.getsource(StepExecutionContext.step_launcher.fget)  # type: ignore[attr-defined]
    assert "step_context.step_launcher.launch_step(step_context)" in inspect.getsource(dagster_event_sequence_for_step)


def test_the_executor_leaves_out_nothing_that_dagster_has_added_to_its_own() -> None:
    """The functions that it stands for, as they are in the pinned release: to be read again where one has changed."""
    theirs = (InProcessExecutor.execute, inner_plan_execution_iterator, core_dagster_event_sequence_for_step)

    assert [hashlib.sha256(inspect.getsource(one).encode()).hexdigest()[:12] for one in theirs] == [
        "bbf6a314f243",
        "87243a56e08e",
        "ac979c10df94",
    ]


def test_a_job_is_bound_to_its_resources_by_the_definitions() -> None:
    assert isinstance(dagster.Definitions(jobs=[_job()]).resolve_all_job_defs()[0], JobDefinition)


def _job() -> JobDefinition:
    @dagster.job
    def empty() -> None:
        """Without a step."""

    return empty


# Launching


def test_a_launcher_has_these_abstract_methods_and_no_others() -> None:
    assert RunLauncher.__abstractmethods__ == {"launch_run", "terminate"}


def test_a_launcher_is_given_the_run() -> None:
    assert {"dagster_run", "workspace"} <= _parameters(LaunchRunContext.__new__) | _parameters(LaunchRunContext)


def test_a_launcher_tells_run_monitoring_how_a_worker_is() -> None:
    assert {"RUNNING", "SUCCESS", "NOT_FOUND"} <= set(WorkerStatus.__members__)
    assert CheckRunHealthResult(WorkerStatus.RUNNING, "why").msg == "why"


def test_what_is_configured_can_be_read_as_it_was_written() -> None:
    data = ConfigurableClassData("module", "Name", "password:\n  env: NAME\n")

    assert data.config_dict == {"password": {"env": "NAME"}}


# Storing


def test_a_storage_consists_of_three() -> None:
    assert DagsterStorage.__abstractmethods__ == {"event_log_storage", "run_storage", "schedule_storage"}
    assert not PooledPostgresStorage.__abstractmethods__


PARTS = [
    (PooledRunStorage, PostgresRunStorage),
    (PooledEventLogStorage, PostgresEventLogStorage),
    (PooledScheduleStorage, PostgresScheduleStorage),
]
NEW = {"grouped", "_flush", "own", "_own", "_group", "_plans", "_has_run_stats_index_cols", "_has_backfill_id_column"}
"""Names of ours that have no counterpart."""


@pytest.mark.parametrize(("ours", "theirs"), PARTS)
def test_what_is_overridden_is_there_to_be_overridden(ours: type, theirs: type) -> None:
    """A method that has been renamed would silently be left as it is."""
    overridden = {name for name in vars(ours) if not name.startswith("__") and name not in NEW}

    assert {name for name in overridden if not hasattr(theirs, name)} <= {"_abc_impl"}


@pytest.mark.parametrize(("ours", "theirs"), PARTS)
def test_what_is_overridden_takes_the_same_parameters(ours: type, theirs: type) -> None:
    for name, method in vars(ours).items():
        if inspect.isfunction(method) and name not in NEW and not name.startswith("__"):
            given = _parameters(method)
            assert given == _parameters(getattr(theirs, name)) or "kwargs" in given, name


@pytest.mark.parametrize("theirs", [theirs for _, theirs in PARTS])
def test_a_part_is_made_from_a_url_and_holds_one_engine(theirs: type) -> None:
    assert list(inspect.signature(theirs).parameters)[:2] == ["postgres_url", "should_autocreate_tables"]
    source = inspect.getsource(theirs)
    assert "self._engine = create_pg_engine(" in source
    assert "create_engine(" not in source.replace("create_pg_engine(", "").replace(_clean_storage(theirs), "")


def _clean_storage(theirs: type) -> str:
    """A helper for Dagster's own tests, which empties the database."""
    return inspect.getsource(theirs.create_clean_storage)  # type: ignore[attr-defined]


def test_every_look_at_events_goes_through_the_two_connections_that_flush() -> None:
    """What connects by another way either writes an event, or looks at the tables and not at what is in them."""
    direct = {
        name
        for name, method in vars(PostgresEventLogStorage).items()
        if inspect.isfunction(method)
        and ("self._connect()" in (source := inspect.getsource(method)) or "_engine.connect" in source)
    }

    assert direct == {
        "_init_db",
        "upgrade",
        "store_event",
        "store_event_batch",
        "run_connection",
        "index_connection",
        "has_table",
        "alembic_version",
        "_gen_event_log_entry_from_cursor",  # nobody calls it
    }
    assert "_connect()" not in inspect.getsource(SqlEventLogStorage)


def test_an_event_is_stored_in_these_columns() -> None:
    columns = {column.name for column in SqlEventLogStorageTable.columns}

    assert columns == {"id", *COLUMNS}
    assert {
        name for name in COLUMNS if f'"{name}": ' not in inspect.getsource(SqlEventLogStorage._event_to_row)
    } == set()


def test_every_change_of_a_runs_status_is_among_the_events_that_are_waited_for() -> None:
    assert EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys() <= PIPELINE_EVENTS


def test_no_event_is_of_two_kinds() -> None:
    assert not PIPELINE_EVENTS & (ASSET_EVENTS | ASSET_CHECK_EVENTS)


# Capturing


def test_the_files_of_a_captured_run_have_these_names(tmp_path: Path) -> None:
    manager = LocalComputeLogManager(str(tmp_path))
    paths = [manager.get_captured_local_path(["run", "file"], ending) for ending in IO_TYPE_EXTENSION.values()]

    assert [Path(path).name for path in paths] == ["file.out", "file.err"]
    assert Path(manager.complete_artifact_path(["run", "file"])).name == "file.complete"  # type: ignore[no-untyped-call]


def test_the_manager_for_s3_captures_through_its_local_one() -> None:
    assert "self._local_manager = LocalComputeLogManager(" in inspect.getsource(S3ComputeLogManager.__init__)
    assert "with self.local_manager.capture_logs(log_key)" in inspect.getsource(
        CloudStorageComputeLogManager.capture_logs
    )
