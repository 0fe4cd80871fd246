"""Dagster instances on a real PostgreSQL: with our storage, or with that of dagster-postgres."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, JobDefinition
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from psycopg import sql

from sandbox.postgres import Server
from tenant_pipelines.runs.storage import grouped

PASSWORD = "DAGSTER_POSTGRES_PASSWORD"
QUIET = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
AT_ONCE, QUEUED = "DefaultRunCoordinator", "QueuedRunCoordinator"


def configuration(server: Server, database: str, **more: Any) -> dict[str, Any]:
    """Of the storage. `more`: beside `postgres_db`."""
    place = {"hostname": server.host, "port": server.port, "db_name": database, "username": "postgres"}
    return {"postgres_db": {**place, "password": {"env": PASSWORD}, "scheme": "postgresql+psycopg2"}, **more}


def ours(server: Server, database: str, **more: Any) -> dict[str, Any]:
    """The section `storage` of dagster.yaml."""
    place = {"module": "tenant_pipelines.runs.storage", "class": "PooledPostgresStorage"}
    return {"custom": {**place, "config": configuration(server, database, **more)}}


def stock(server: Server, database: str) -> dict[str, Any]:
    """The same for the storage of dagster-postgres."""
    return {"postgres": configuration(server, database)}


@contextmanager
def instance_on(storage: Mapping[str, Any], home: Path, coordinator: str = AT_ONCE) -> Iterator[DagsterInstance]:
    """As a process opens it whose DAGSTER_HOME that is."""
    home.mkdir(exist_ok=True)
    settings = {"storage": dict(storage), "compute_logs": QUIET, "telemetry": {"enabled": False}}
    settings |= {"run_coordinator": {"module": "dagster._core.run_coordinator", "class": coordinator}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with DagsterInstance.from_config(str(home)) as instance:
        yield instance


@contextmanager
def empty_database(server: Server, name: str) -> Iterator[str]:
    """For the time of the block."""
    identifier = sql.Identifier(name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(identifier))
        admin.execute(sql.SQL("create database {}").format(identifier))
        yield name
        admin.execute(sql.SQL("drop database {} with (force)").format(identifier))


def carry_out(instance: DagsterInstance, job: JobDefinition, *, in_groups: bool = True) -> DagsterRun:
    """As a worker does it."""
    run = instance.create_run_for_job(job)
    if in_groups:
        with grouped(instance, run.run_id):
            list(execute_run_iterator(InMemoryJob(job), run, instance))
    else:
        list(execute_run_iterator(InMemoryJob(job), run, instance))
    return found(instance, run.run_id)


def found(instance: DagsterInstance, run_id: str) -> DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def succeeded(run: DagsterRun) -> bool:
    return run.status is DagsterRunStatus.SUCCESS


@pytest.fixture(scope="module")
def dagster_database(postgres: Server) -> Iterator[str]:
    """With Dagster's tables, as dagster-postgres itself makes them."""
    os.environ[PASSWORD] = postgres.password
    with empty_database(postgres, f"dagster_{os.getpid()}") as name:
        yield name
    del os.environ[PASSWORD]


@pytest.fixture(scope="module")
def usual(
    postgres: Server, dagster_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterInstance]:
    """On the storage of dagster-postgres, which has made the tables."""
    with instance_on(stock(postgres, dagster_database), tmp_path_factory.mktemp("usual")) as instance:
        yield instance


@pytest.fixture(scope="module")
def pooled(
    postgres: Server, dagster_database: str, usual: DagsterInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterInstance]:
    """On ours, over the same tables."""
    with instance_on(ours(postgres, dagster_database), tmp_path_factory.mktemp("pooled")) as instance:
        yield instance


@pytest.fixture
def admin(postgres: Server) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, in another database."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        yield connection
