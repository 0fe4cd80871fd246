"""Run config: one value for every op, and nothing else that gets in or shows."""

import traceback
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.errors import DagsterConfigMappingFunctionError

from tenant_pipelines.provisioning.jobs import SAGA, provision_job, rollback_job

SECRET = "fake-secret-of-the-environment"
OURS = dg.Definitions(jobs=[provision_job(), rollback_job()], resources={SAGA: object()})
JOBS = ["provision_tenant", "rollback_tenant"]


class Given(dg.Config):
    """As most people write an op's config."""

    tenant_id: str


@dg.op
def heard(config: Given) -> str:
    """Answers what it was given."""
    return config.tenant_id


@dg.op
def beside() -> None:
    """Takes no config."""


@dg.job(executor_def=dg.in_process_executor)
def plain() -> None:
    """A job without a mapping."""
    heard()
    beside()


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TEST_OF_DAGSTER_SECRET", SECRET)
    return "TEST_OF_DAGSTER_SECRET"


def test_config_for_an_op_outside_the_selection_is_refused_without_a_mapping() -> None:
    """Why our jobs have one: a launch of some ops takes the same config as a launch of all."""
    config = {"ops": {"heard": {"config": {"tenant_id": "T"}}}}

    with pytest.raises(dg.DagsterInvalidConfigError):
        plain.get_subset(op_selection=["beside"]).execute_in_process(run_config=config)


@pytest.mark.parametrize("selection", [["creating_admin_user"], ["activating_tenant*"], ["*creating_resources"]])
def test_our_config_holds_for_any_selection_of_ops(selection: list[str]) -> None:
    job = OURS.resolve_job_def("provision_tenant").get_subset(op_selection=selection)

    dg.validate_run_config(job, {"tenant_id": str(uuid4())})


def test_a_pydantic_config_resolves_variables_of_the_environment(instance: DagsterInstance, variable: str) -> None:
    """Why ours is taken as it is given, and checked by us."""
    config = {"ops": {"heard": {"config": {"tenant_id": {"env": variable}}}}}

    assert plain.execute_in_process(run_config=config, instance=instance).output_for_node("heard") == SECRET


@pytest.mark.parametrize("job", JOBS)
def test_our_config_resolves_no_variable_of_the_environment(job: str, variable: str) -> None:
    shown = _refusal(job, {"tenant_id": {"env": variable}})

    assert SECRET not in shown
    assert variable not in shown


BAD = "not-to-be-repeated"


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    "tenant_id",
    [BAD, {"x": BAD}, [BAD], f"{uuid4()} {BAD}", f"{{{BAD}}}", f"urn:uuid:{BAD}"],
    ids=["word", "mapping", "list", "id and more", "braces", "urn"],
)
def test_a_tenant_id_that_is_no_uuid_is_refused_without_being_repeated(job: str, tenant_id: Any) -> None:
    shown = _refusal(job, {"tenant_id": tenant_id})

    assert "tenant_id is required and must be a UUID" in shown
    assert BAD not in shown


@pytest.mark.parametrize("tenant_id", [BAD, {"x": BAD}], ids=["word", "mapping"])
def test_a_run_with_a_refused_tenant_id_is_not_stored(queueing: DagsterInstance, tenant_id: Any) -> None:
    before = queueing.get_runs_count()

    with pytest.raises(DagsterConfigMappingFunctionError):
        queueing.create_run_for_job(OURS.resolve_job_def("provision_tenant"), run_config={"tenant_id": tenant_id})

    assert queueing.get_runs_count() == before


def test_the_value_of_an_unknown_field_is_not_repeated() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError) as refused:
        dg.validate_run_config(
            OURS.resolve_job_def("provision_tenant"), {"tenant_id": str(uuid4()), "password": BAD, "more": {"x": BAD}}
        )

    assert BAD not in "".join(traceback.format_exception(refused.value))


def _refusal(job: str, config: dict[str, Any]) -> str:
    """All that is said of the config, causes and all."""
    with pytest.raises(DagsterConfigMappingFunctionError) as refused:
        dg.validate_run_config(OURS.resolve_job_def(job), config)
    return "".join(traceback.format_exception(refused.value))
