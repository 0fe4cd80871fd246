"""What the benchmarks run is what the product runs, on other systems."""

import importlib

import pytest

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # Dagster's, on import


@pytest.mark.parametrize("name", ["idle_definitions", "timed_definitions", "multiprocess_definitions"])
def test_the_jobs_and_sensors_are_the_products(name: str) -> None:
    ours = importlib.import_module("tenant_pipelines.definitions").defs.get_repository_def()
    other = importlib.import_module(f"benchmarks.{name}").defs.get_repository_def()

    assert set(other.job_names) == set(ours.job_names)
    assert {sensor.name for sensor in other.sensor_defs} == {sensor.name for sensor in ours.sensor_defs}
    for job in ("provision_tenant", "rollback_tenant"):
        assert [node.name for node in other.get_job(job).nodes_in_topological_order] == [
            node.name for node in ours.get_job(job).nodes_in_topological_order
        ]
