"""Our dagster.yaml files, and the defaults and traps that they are there for."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml  # type: ignore[import-untyped]
from dagster import DagsterInstance, DefaultRunLauncher
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_k8s import K8sRunLauncher
from dagster_postgres.utils import set_pg_statement_timeout

from sandbox.postgres import Server
from sandbox.stack.generated import without_pool
from tenant_pipelines.launcher.run_launcher import WarmRunLauncher
from tenant_pipelines.runs.pairs import PINNED, refusal
from tests.runs.stage import instance_in_memory

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "dagster_home" / "dagster.yaml", ROOT / "deploy" / "kubernetes" / "dagster.yaml"]


@pytest.fixture(params=FILES, ids=lambda path: path.parent.name)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def written(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


# What our files say


def test_dagster_accepts_the_file(file: Path, written: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _variables(written):
        monkeypatch.setenv(name, "5432")
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **_: None)  # there is no cluster

    ref = InstanceRef.from_dir(str(file.parent))

    assert ref.run_coordinator is not None
    assert isinstance(ref.run_launcher, WarmRunLauncher | K8sRunLauncher)
    assert ref.settings["run_monitoring"] == written["run_monitoring"]


def test_launcher_and_coordinator_are_a_supported_pair(written: dict[str, Any]) -> None:
    assert refusal(written["run_coordinator"]["class"], written["run_launcher"]["class"], PINNED) is None


def test_the_sections_for_going_without_the_pool_are_a_supported_pair_too() -> None:
    sections = yaml.safe_load(without_pool(FILES[0].read_text()))

    assert refusal(sections["run_coordinator"]["class"], sections["run_launcher"]["class"], PINNED) is None
    assert sections["run_coordinator"]["config"]["max_user_code_failure_retries"] >= 5
    del sections["storage"], sections["compute_logs"]
    with instance_in_memory(sections) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert isinstance(instance.run_launcher, DefaultRunLauncher)


def test_telemetry_is_off(written: dict[str, Any]) -> None:
    assert written["telemetry"] == {"enabled": False}


def test_dagster_itself_retries_no_run(written: dict[str, Any]) -> None:
    assert written["run_retries"] == {"enabled": False}
    assert written["run_monitoring"]["max_resume_run_attempts"] == 0


def test_run_monitoring_is_on_and_looks_often(written: dict[str, Any]) -> None:
    assert written["run_monitoring"]["enabled"] is True
    assert written["run_monitoring"]["poll_interval_seconds"] <= 30


def test_a_run_that_is_dequeued_while_the_code_server_is_away_is_tried_again() -> None:
    written = yaml.safe_load(FILES[1].read_text())  # the other one has no queue of Dagster's

    assert written["run_coordinator"]["config"]["max_user_code_failure_retries"] >= 5


def test_the_database_is_spoken_to_through_psycopg2(written: dict[str, Any]) -> None:
    assert _database(written)["scheme"] == "postgresql+psycopg2"


def test_every_secret_comes_from_the_environment(written: dict[str, Any]) -> None:
    """A literal shows in the arguments of the code server's process."""
    database = _database(written)

    assert list(database["password"]) == ["env"]
    assert not [key for key, value in _leaves(written) if _secret(key) and key != "env" and isinstance(value, str)]


# Why they say it


def test_a_bare_postgresql_url_is_taken_for_psycopg_3() -> None:
    assert sqlalchemy.make_url("postgresql://h/d").get_dialect().driver == "psycopg"


@pytest.mark.parametrize(("scheme", "works"), [("postgresql", False), ("postgresql+psycopg2", True)])
def test_dagster_closes_its_connection_under_psycopg_3(postgres: Server, scheme: str, works: bool) -> None:
    engine = sqlalchemy.create_engine(postgres.dsn().replace("postgresql", scheme, 1), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        set_pg_statement_timeout(connection.connection.dbapi_connection, 1000)
        assert bool(connection.connection.dbapi_connection.closed) is not works  # type: ignore[union-attr]


def test_telemetry_is_on_by_default() -> None:
    with instance_in_memory({"telemetry": {}}) as instance:
        assert instance.telemetry_enabled


def test_run_monitoring_looks_every_two_minutes_and_resumes_nothing_by_default(stored: DagsterInstance) -> None:
    assert stored.run_monitoring_poll_interval_seconds == 120
    assert stored.run_monitoring_max_resume_run_attempts == 0


def test_a_run_dequeued_while_the_code_server_is_away_fails_at_once_by_default(queueing: DagsterInstance) -> None:
    coordinator = queueing.run_coordinator
    assert isinstance(coordinator, QueuedRunCoordinator)

    assert coordinator.get_run_queue_config().max_user_code_failure_retries == 0


def test_only_the_kubernetes_launcher_can_tell_that_a_worker_is_gone_and_resume_it() -> None:
    assert not DefaultRunLauncher().supports_check_run_worker_health
    assert not DefaultRunLauncher().supports_resume_run
    assert K8sRunLauncher.supports_check_run_worker_health.fget(None)  # type: ignore[attr-defined]
    assert K8sRunLauncher.supports_resume_run.fget(None)  # type: ignore[attr-defined]


def _database(written: dict[str, Any]) -> dict[str, Any]:
    storage = written["storage"]
    found: dict[str, Any] = (storage.get("postgres") or storage["custom"]["config"])["postgres_db"]
    return found


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, below in value.items() for leaf in _leaves(below, name)]
    return [(key, value)]


def _secret(key: str) -> bool:
    return any(word in key.lower() for word in ("password", "secret", "token", "key"))


def _variables(written: dict[str, Any]) -> list[str]:
    return [value for key, value in _leaves(written) if key == "env"]
