"""The outside systems alone, with `dagster dev` beside them."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.stack import processes
from sandbox.stack.folder import CHECKOUT
from sandbox.stack.ports import HOST
from tests.stack.conftest import COMMAND, Stack, finish, somewhere, wait_until_up

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]

LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
  }
}
"""

HEARING = shlex.join(
    [
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])",
    ]
)
"""Whoever starts the tests in the background of a shell has them ignore SIGINT, and all that they start."""


@pytest.fixture(scope="module")
def systems() -> Iterator[Stack]:
    """The outside systems of a stack."""
    with somewhere() as found:
        process = found.begin("--systems-only")
        wait_until_up(process)
        yield found
        code, said = finish(process)
        assert (code, found.left) == (0, []), said


def _sourced(systems: Stack, *command: str) -> subprocess.Popen[str]:
    """As a person does: `. .local/env`, then the command, in the folder above."""
    script = f". {shlex.quote(str(systems.folder.shell_env))} && exec {shlex.join(command)}"
    return subprocess.Popen(
        ["/bin/sh", "-c", script],
        cwd=systems.folder.home,
        env=systems.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _eventually(check: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def test_neither_dagster_nor_the_rest_api_is_there(systems: Stack) -> None:
    assert not {"dagster", "rest"} & set(systems.document)
    assert len(systems.document["services"]) == 10

    refused = systems.command("worker", "stop")

    assert refused.returncode == 1
    assert "--systems-only" in refused.stderr


def test_dagster_dev_provisions_a_tenant_that_is_launched_over_graphql(systems: Stack, tmp_path: Path) -> None:
    port = 13000 + systems.offset
    log = tmp_path / "dev.log"
    create = _sourced(
        systems, *COMMAND, "tenant", "create", "hooli", "--name", "Hooli", "--admin-email", "g@hooli.example",
        "--plan", "basic", "--no-provision",
    )  # fmt: skip
    tenant_id = create.communicate(timeout=30)[0].split()[-1]
    with log.open("w") as output:
        dev = subprocess.Popen(
            ["/bin/sh", "-c", f". {shlex.quote(str(systems.folder.shell_env))} && "
             f"exec {HEARING} dagster dev -h {HOST} -p {port} -w {shlex.quote(str(CHECKOUT / 'workspace.yaml'))}"],
            cwd=systems.folder.home,
            env=systems.environment() | processes.marker(systems.folder),
            stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _eventually(lambda: _launched(port, tenant_id))
        _eventually(
            lambda: "statusName: ACTIVE" in _sourced(systems, *COMMAND, "tenant", "show", "hooli").communicate()[0]
        )
    except AssertionError as error:
        raise AssertionError(log.read_text()[-3000:]) from error
    finally:
        os.kill(dev.pid, signal.SIGINT)
        dev.wait(timeout=60)


def _launched(port: int, tenant_id: str) -> bool:
    selector = {
        "repositoryLocationName": "tenant_pipelines",
        "repositoryName": "__repository__",
        "pipelineName": "provision_tenant",
    }
    params = {"selector": selector, "runConfigData": {"tenant_id": tenant_id}, "mode": "default"}
    try:
        answer = httpx.post(
            f"http://{HOST}:{port}/graphql",
            json={"query": LAUNCH, "variables": {"params": params}},
            timeout=30,
            trust_env=False,
        )
    except httpx.TransportError:
        return False
    document = answer.json()
    if "data" not in document:  # the code location is still being loaded
        return False
    launched = document["data"]["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return True
