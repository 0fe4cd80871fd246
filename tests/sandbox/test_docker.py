"""The Docker host of the sandbox: the daemon's words and status codes, its command line, the switch, a restart."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.docker import DockerDaemon
from sandbox.serving import running
from sandbox.store import Store

IMAGE = "tenant-application:latest"
OURS = {"tenantId": "6f2b", "tenantKey": "acme", "managedBy": "tenant-pipelines"}


@pytest.fixture
def daemon() -> DockerDaemon:
    return DockerDaemon()


@pytest.fixture
def api(daemon: DockerDaemon) -> Iterator[httpx.Client]:
    with running(daemon.app()) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


def create(api: httpx.Client, name: str = "tenant-acme", **body: Any) -> httpx.Response:
    return api.post("/v1.44/containers/create", params={"name": name}, json={"Image": IMAGE, "Labels": OURS} | body)


def message(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert list(body) == ["message"]
    return answer.status_code, body["message"]


def test_the_version_in_the_path_may_be_left_out_or_has_to_be_one_that_is_spoken(api: httpx.Client) -> None:
    for prefix in ("", "/v1.24", "/v1.44"):
        assert api.get(f"{prefix}/version").json()["ApiVersion"] == "1.44"
    assert message(api.get("/v1.99/version")) == (
        400,
        "client version 1.99 is too new. Maximum supported API version is 1.44",
    )
    assert message(api.get("/v1.12/version"))[1].startswith("client version 1.12 is too old. Minimum supported")


def test_ping_says_which_version_is_spoken(api: httpx.Client) -> None:
    assert api.get("/_ping").text == "OK"
    head = api.head("/_ping")
    assert (head.status_code, head.headers["Api-Version"], head.headers["Ostype"]) == (200, "1.44", "linux")


def test_the_life_of_a_container(api: httpx.Client) -> None:
    made = create(api)
    assert made.status_code == 201
    key = made.json()["Id"]
    assert len(key) == 64
    url = f"/v1.44/containers/{key}"

    def status() -> str:
        return str(api.get("/v1.44/containers/tenant-acme/json").json()["State"]["Status"])

    assert status() == "created"
    assert api.post(f"{url}/stop").status_code == 304
    assert [api.post(f"{url}/start").status_code for _ in range(2)] == [204, 304]
    assert status() == "running"
    assert api.post(f"{url}/pause").status_code == 204
    assert status() == "paused"
    assert api.post(f"{url}/unpause").status_code == 204
    assert [api.post(f"{url}/stop").status_code for _ in range(2)] == [204, 304]
    assert status() == "exited"
    assert api.post(f"{url}/restart").status_code == 204
    assert api.post(f"{url}/kill").status_code == 204
    assert api.delete(url).status_code == 204
    assert message(api.get(f"{url}/json")) == (404, f"No such container: {key}")


def test_a_name_is_taken_until_its_container_is_gone(api: httpx.Client) -> None:
    key = create(api).json()["Id"]

    assert message(create(api)) == (
        409,
        f'Conflict. The container name "/tenant-acme" is already in use by container "{key}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
    )


def test_a_running_container_is_removed_by_force_only(api: httpx.Client) -> None:
    create(api)
    api.post("/containers/tenant-acme/start")

    status, words = message(api.delete("/containers/tenant-acme"))

    assert status == 409
    assert 'cannot remove container "/tenant-acme": container is running' in words
    assert api.delete("/containers/tenant-acme", params={"force": "1"}).status_code == 204


def test_a_removal_that_is_only_half_done_goes_on_by_itself(api: httpx.Client) -> None:
    create(api)
    api.put("/_sandbox/faults", json=[{"operation": "DELETE /containers/*", "mode": "half_done", "times": 1}])

    assert message(api.delete("/v1.44/containers/tenant-acme"))[0] == 500
    assert api.get("/containers/tenant-acme/json").json()["State"]["Status"] == "removing"
    assert message(api.delete("/containers/tenant-acme")) == (
        409,
        "removal of container tenant-acme is already in progress",
    )
    assert message(api.post("/containers/tenant-acme/start"))[0] == 409

    until = time.monotonic() + 10
    while api.get("/containers/tenant-acme/json").status_code == 200:
        assert time.monotonic() < until, "the container never went"
        time.sleep(0.05)
    assert create(api).status_code == 201


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Image": "nobody-has-this"}, (404, "No such image: nobody-has-this:latest")),
        ({"HostConfig": {"Memory": 1024}}, (400, "Minimum memory limit allowed is 6MB")),
        ({"Env": ["=nothing"]}, (400, "invalid environment variable: =nothing")),
    ],
)
def test_what_the_daemon_refuses_to_create(api: httpx.Client, body: dict[str, Any], words: tuple[int, str]) -> None:
    assert message(create(api, **body)) == words
    assert api.get("/containers/json", params={"all": "1"}).json() == []


def test_too_many_cores_and_unknown_policies_are_refused(api: httpx.Client) -> None:
    assert message(create(api, HostConfig={"NanoCpus": 10**12}))[1].startswith("range of CPUs is from 0.01")
    assert message(create(api, HostConfig={"RestartPolicy": {"Name": "sometimes"}}))[0] == 400


def test_bad_requests(api: httpx.Client) -> None:
    assert message(create(api, name="not allowed!"))[1].startswith("Invalid container name (not allowed!)")
    assert message(api.post("/containers/create", content=b"x", headers={"Content-Type": "text/plain"}))[0] == 400
    assert message(api.post("/containers/create", content=b"{", headers={"Content-Type": "application/json"}))[0] == 400
    assert message(api.get("/containers/json", params={"filters": '{"colour":["red"]}'})) == (
        400,
        "invalid filter 'colour'",
    )
    assert message(api.get("/containers/json", params={"filters": "["}))[0] == 400
    assert message(api.post("/containers/nobody/start")) == (404, "No such container: nobody")
    assert message(api.get("/nowhere")) == (404, "page not found")
    assert message(api.get("/images/nobody-has-this/json")) == (404, "No such image: nobody-has-this:latest")


def test_a_container_in_a_network_that_is_not_there_does_not_start(api: httpx.Client) -> None:
    create(api, HostConfig={"NetworkMode": "elsewhere"})

    status, words = message(api.post("/containers/tenant-acme/start"))

    assert status == 404
    assert "network elsewhere not found" in words


@pytest.mark.parametrize(
    "filters",
    ['{"label":["tenantKey=acme"]}', '{"label":{"tenantKey=acme":true}}', '{"name":["tenant-acme"]}'],
)
def test_lists_are_filtered_in_both_forms(api: httpx.Client, filters: str) -> None:
    create(api)
    create(api, name="other", Labels={})

    shown = api.get("/containers/json", params={"all": "1", "filters": filters}).json()

    assert [each["Names"] for each in shown] == [["/tenant-acme"]]
    assert api.get("/containers/json", params={"filters": filters}).json() == []


def test_the_environment_is_the_images_with_ours_on_top(api: httpx.Client) -> None:
    create(api, Env=["PATH=/mine", "A=1"])

    assert api.get("/containers/tenant-acme/json").json()["Config"]["Env"] == ["PATH=/mine", "A=1"]
    create(api, name="plain")
    assert api.get("/containers/plain/json").json()["Config"]["Env"] == ["PATH=/usr/local/bin:/usr/bin:/bin"]


def test_volumes(api: httpx.Client) -> None:
    made = api.post("/volumes/create", json={"Name": "data", "Labels": OURS})
    assert made.status_code == 201
    create(api, HostConfig={"Binds": ["data:/data:rw"]})

    status, words = message(api.delete("/volumes/data"))
    assert status == 409
    assert words.startswith("remove data: volume is in use - [")
    api.delete("/containers/tenant-acme")
    assert api.delete("/volumes/data").status_code == 204
    assert message(api.get("/volumes/data")) == (404, "get data: no such volume")


def test_the_state_shows_containers_and_volumes_of_a_tenant(api: httpx.Client) -> None:
    create(api)
    create(api, name="tenant-acme2", Labels={})
    api.post("/volumes/create", json={"Name": "data", "Labels": OURS})

    shown = api.get("/_sandbox/state", params={"tenant": "acme"}).json()["objects"]
    others = api.get("/_sandbox/state", params={"tenant": "acme2"}).json()["objects"]

    assert [(each["kind"], each["name"], each["ours"]) for each in shown] == [
        ("container", "tenant-acme", True),
        ("volume", "data", True),
    ]
    assert [(each["name"], each["ours"]) for each in others] == [("tenant-acme2", False)]


def test_faults_are_named_without_the_version_and_can_be_for_one_tenant(api: httpx.Client) -> None:
    create(api)
    create(api, name="tenant-other", Labels={})
    fault = {"operation": "POST /containers/*/start", "mode": "rate_limited", "times": 1, "tenant": "acme"}
    api.put("/_sandbox/faults", json=[fault]).raise_for_status()

    assert api.post("/v1.44/containers/tenant-other/start").status_code == 204
    hit = api.post("/v1.44/containers/tenant-acme/start")

    assert (hit.status_code, hit.headers["Retry-After"]) == (429, "1")
    assert api.post("/v1.44/containers/tenant-acme/start").status_code == 204


def test_a_call_that_names_only_the_id_is_known_to_be_about_the_tenant(api: httpx.Client) -> None:
    key = create(api).json()["Id"]
    fault = {"operation": "*", "mode": "server_error", "times": 1, "tenant": "acme"}
    api.put("/_sandbox/faults", json=[fault]).raise_for_status()

    assert api.post(f"/v1.44/containers/{key}/start").status_code == 500


def test_containers_outlive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "docker.sqlite"
    first = Store(file)
    with running(DockerDaemon(first).app()) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as api:
        before = create(api).json()["Id"]
        api.post("/containers/tenant-acme/start")
        started = api.get("/containers/tenant-acme/json").json()["State"]["StartedAt"]
    first.close()

    second = Store(file)
    with running(DockerDaemon(second).app()) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as api:
        state = api.get("/containers/tenant-acme/json").json()["State"]
        assert (state["Status"], state["StartedAt"]) == ("running", started)
        assert create(api, name="another").json()["Id"] != before
    second.close()


@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command is not installed")
def test_the_docker_command_works_on_it(daemon: DockerDaemon, tmp_path: Path) -> None:
    with running(daemon.app()) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}") as api:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
        }

        def sh(command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=30, check=False
            )

        create(api, HostConfig={"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}})
        api.post("/containers/tenant-acme/start")

        listed = sh("docker ps | grep tenant-acme")
        assert listed.returncode == 0, listed.stderr
        assert IMAGE in listed.stdout
        assert "127.0.0.1:32769->8080/tcp" in listed.stdout
        assert "tenant-acme" in sh("docker logs tenant-acme").stdout
        assert sh("docker inspect -f '{{.State.Status}}' tenant-acme").stdout == "running\n"
        assert sh("docker restart tenant-acme").returncode == 0
        assert sh("docker pull somebody/application:2").returncode == 0
        assert sh("docker image inspect somebody/application:2").returncode == 0
        assert "container is running" in sh("docker rm tenant-acme").stderr
        assert sh("docker rm -f tenant-acme").stdout == "tenant-acme\n"
        assert sh("docker ps -a | grep tenant-acme").returncode == 1
        assert "No such container: tenant-acme" in sh("docker rm -f tenant-acme").stderr
