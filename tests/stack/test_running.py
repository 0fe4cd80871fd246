"""The stack as it runs: where everything is, what can be restarted, and what happens when something dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import psycopg
import pytest

from sandbox.stack import credentials, generated, parts
from sandbox.stack.generated import SERVICES
from sandbox.stack.ports import Ports
from sandbox.stack.readiness import pool_is_ready
from sandbox.stack.supervision import Supervisor
from tests.stack.conftest import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=10, trust_env=False)


def _eventually(check: Callable[[], bool], *, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def _switch(stack: Stack, name: str) -> str:
    place = stack.document["services"][name]
    return str(place.get("sandbox_url", place["url"]))


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_system_has_its_switch_where_stack_json_says(stack: Stack, name: str) -> None:
    assert _get(f"{_switch(stack, name)}/_sandbox/faults").json() == []
    assert "objects" in _get(f"{_switch(stack, name)}/_sandbox/state?tenant=nobody").json()


def test_the_health_check_of_s3_follows_s3(stack: Stack) -> None:
    health = f"http://127.0.0.1:{9001 + stack.offset}/minio/health/ready"
    switch = f"{_switch(stack, 's3')}/_sandbox/faults"
    assert _get(health).status_code == 200

    httpx.put(switch, json=[{"operation": "*", "mode": "refuse", "times": 1000}], trust_env=False)
    try:
        assert _get(health).status_code == 503
    finally:
        httpx.put(switch, json=[], trust_env=False)
    assert _get(health).status_code == 200


def test_the_database_is_migrated_and_each_role_gets_in(stack: Stack) -> None:
    made = credentials.ensure(stack.folder)
    place = stack.document["database"]
    for role, password in (("control_plane", made.control_plane_password), ("provisioner", made.provisioner_password)):
        dsn = f"postgresql://{role}:{password}@{place['host']}:{place['port']}/{place['name']}"
        with psycopg.connect(dsn) as connection:
            found = connection.execute("select count(id) from tenants").fetchone()
        assert found is not None
        assert found[0] >= 2  # the reserved rows


def test_dagster_has_our_definitions(stack: Stack) -> None:
    query = "{repositoriesOrError{... on RepositoryConnection{nodes{location{name} jobs{name}}}}}"
    answer = httpx.post(
        f"{stack.document['dagster']['url']}/graphql", json={"query": query}, timeout=20, trust_env=False
    )

    (node,) = answer.json()["data"]["repositoriesOrError"]["nodes"]
    assert node["location"]["name"] == "tenant_pipelines"
    assert {"provision_tenant", "rollback_tenant"} <= {job["name"] for job in node["jobs"]}


def test_only_the_console_of_this_machine_can_reach_it(stack: Stack) -> None:
    ours = {process.pid for process in stack.left}
    with open("/proc/net/tcp") as table:
        listening = [line.split() for line in table.readlines()[1:] if line.split()[3] == "0A"]
    open_to_all = {line[9] for line in listening if not line[1].startswith("0100007F")}
    held = {
        os.readlink(f"/proc/{pid}/fd/{number}").removeprefix("socket:[").removesuffix("]")
        for pid in ours
        for number in os.listdir(f"/proc/{pid}/fd")
        if os.path.exists(f"/proc/{pid}/fd/{number}") or os.path.islink(f"/proc/{pid}/fd/{number}")
    }
    assert ours
    assert not open_to_all & held


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack) -> None:
    made = credentials.ensure(stack.folder)
    secrets = {getattr(made, name) for name in credentials.PLACES}
    commands = "\n".join(process.command for process in stack.left)
    logs = "\n".join(file.read_text(errors="replace") for file in stack.folder.logs.iterdir())

    assert "supervisord" in commands
    assert not [secret for secret in secrets if secret in commands or secret in logs]


def test_a_second_up_is_refused(stack: Stack) -> None:
    done = stack.command("up")

    assert done.returncode == 1
    assert "runs in" in done.stderr
    assert "make down" in done.stderr
    assert stack.folder.stack_json.exists()


@pytest.mark.parametrize("name", ["keycloak", "s3", "postgres", "dns"])
def test_a_part_that_is_restarted_answers_again(stack: Stack, name: str) -> None:
    done = stack.command("stack", "restart", name)

    assert done.returncode == 0, done.stderr
    assert _get(f"{_switch(stack, name)}/_sandbox/state").status_code == 200


def test_what_dies_is_started_again(stack: Stack) -> None:
    before = {part.name: part.pid for part in parts.status(stack.folder)}
    os.kill(before["novu"], signal.SIGKILL)

    _eventually(lambda: {p.name: p.pid for p in parts.status(stack.folder)}["novu"] not in (0, before["novu"]))
    _eventually(lambda: parts_answer(stack, "novu"))


def parts_answer(stack: Stack, name: str) -> bool:
    try:
        return _get(f"{_switch(stack, name)}/_sandbox/faults").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_worker_can_be_stopped_and_started(stack: Stack) -> None:
    assert stack.command("worker", "stop").returncode == 0
    states = Supervisor(stack.folder).states()
    assert {states[name].pid for name in ("workers", "dagster-daemon")} == {0}
    assert states["dagster-code"].pid != 0  # so that runs can be launched, which wait for a worker
    assert not pool_is_ready(_ledger(stack))

    assert stack.command("worker", "start").returncode == 0
    assert pool_is_ready(_ledger(stack))
    assert {part.state for part in parts.status(stack.folder) if part.name == "worker"} <= {"STARTING", "RUNNING"}


def test_a_pool_that_dies_is_started_again_and_leaves_no_worker_behind(stack: Stack) -> None:
    before = Supervisor(stack.folder).states()["workers"].pid
    warm = {process.pid for process in stack.left if "forkserver" in process.command}
    assert len(warm) >= 4  # the template, two workers and the waker

    os.kill(before, signal.SIGKILL)

    _eventually(lambda: Supervisor(stack.folder).states()["workers"].pid not in (0, before))
    _eventually(lambda: pool_is_ready(_ledger(stack)))
    _eventually(lambda: not warm & {process.pid for process in stack.left})


def test_a_second_pool_is_refused(stack: Stack) -> None:
    environment = {**os.environ, "TENANT_PIPELINES_DATABASE_URL": _ledger(stack)}
    done = subprocess.run(
        [sys.executable, "-m", "tenant_pipelines.launcher"],
        cwd=stack.folder.home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Another pool of workers works for this ledger already" in done.stderr
    assert pool_is_ready(_ledger(stack))


def _ledger(stack: Stack) -> str:
    password = credentials.ensure(stack.folder).control_plane_password
    return generated.database_url("control_plane", Ports(stack.offset), password)
