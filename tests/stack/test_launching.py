"""Launches through Dagster's own web server, which reach the pool's queue and nothing else."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from sandbox.stack import credentials
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]

LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
  }
}
"""
TERMINATE = "mutation($run: String!) {terminateRun(runId: $run) {__typename}}"
STATUS = "query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}"


def ask(stack: Stack, query: str, **variables: Any) -> Any:
    answer = httpx.post(
        f"{stack.document['dagster']['url']}/graphql",
        json={"query": query, "variables": variables},
        timeout=30,
        trust_env=False,
    )
    return answer.json()["data"]


def launch(stack: Stack, key: str) -> tuple[str, str]:
    """A tenant and the run that the launch button makes for it."""
    made = stack.sourced(
        "tenant", "create", key, "--name", key, "--admin-email", f"a@{key}.example", "--plan", "basic", "--no-provision"
    )
    tenant_id = made.split()[-1]
    selector = {
        "repositoryLocationName": "tenant_pipelines",
        "repositoryName": "__repository__",
        "pipelineName": "provision_tenant",
    }
    params = {"selector": selector, "runConfigData": {"tenant_id": tenant_id}, "mode": "default"}
    launched = ask(stack, LAUNCH, params=params)["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return tenant_id, launched["run"]["runId"]


def status(stack: Stack, run: str) -> str:
    found: str = ask(stack, STATUS, run=run)["runOrError"]["status"]
    return found


def eventually(check: Callable[[], bool], *, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def row(stack: Stack, run: str) -> str | None:
    place = stack.document["database"]
    password = credentials.ensure(stack.folder).control_plane_password
    dsn = f"postgresql://control_plane:{password}@{place['host']}:{place['port']}/{place['name']}"
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select state from engine.launches where run_id = %s", [run]).fetchone()
    return None if found is None else str(found[0])


def test_the_launch_button_provisions_a_tenant(stack: Stack) -> None:
    _, run = launch(stack, "launched")

    eventually(lambda: status(stack, run) == "SUCCESS")
    eventually(lambda: "statusName: ACTIVE" in stack.sourced("tenant", "show", "launched"))


def test_without_workers_a_launch_waits_and_can_be_terminated(stack: Stack) -> None:
    assert stack.command("worker", "stop").returncode == 0
    try:
        _, waits = launch(stack, "waits")
        _, unwanted = launch(stack, "unwanted")
        assert (status(stack, waits), row(stack, waits)) == ("QUEUED", "queued")

        ask(stack, TERMINATE, run=unwanted)

        assert (status(stack, unwanted), row(stack, unwanted)) == ("CANCELED", "ended")
    finally:
        assert stack.command("worker", "start").returncode == 0
    eventually(lambda: status(stack, waits) == "SUCCESS")
    assert "PENDING_PROVISION" in stack.sourced("tenant", "show", "unwanted")
