"""The stand-in for Terraform Cloud itself: its strictness, its runs, and that it outlives a restart."""

import asyncio
import base64
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.serving import running
from sandbox.store import Store
from sandbox.terraform import TerraformCloudStandIn
from sandbox.terraform.binary import TerraformBinary
from sandbox.terraform.language import NotUnderstood, Reference, Template, parse
from sandbox.terraform.planner import OwnPlanner
from sandbox.terraform.work import BadArchive, Job, Worker, unpacked
from tenant_pipelines.adapters.terraform.configuration import archive, files

TOKEN = "standin.atlasv1.0123456789"
PROGRAM = shutil.which("terraform") or shutil.which("tofu")
VALUES = {"tenant_id": "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "tenant_key": "acme", "tier": "silo"}
needs_program = pytest.mark.skipif(PROGRAM is None, reason="no terraform and no tofu on PATH")
WORKERS = ["own planner", pytest.param("program", marks=needs_program)]

Post = Callable[..., httpx.Response]


class Api:
    """A client that speaks JSON:API by hand."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/vnd.api+json"},
            trust_env=False,
        )

    def post(self, path: str, kind: str = "", relations: Any = None, **attributes: Any) -> httpx.Response:
        data = {"type": kind, "attributes": {k.replace("_", "-"): v for k, v in attributes.items()}}
        if relations:
            data["relationships"] = relations
        return self.http.post(f"/api/v2/{path}", json={"data": data} if kind else None)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(f"/api/v2/{path}", params=params)
        answer.raise_for_status()
        return answer.json()["data"]

    def workspace(self, name: str = "tenant-acme", **attributes: Any) -> str:
        made = self.post("organizations/platform/workspaces", "workspaces", name=name, **attributes)
        assert made.status_code == 201, made.text
        workspace_id = str(made.json()["data"]["id"])
        for key, value in VALUES.items():
            self.post(f"workspaces/{workspace_id}/vars", "vars", key=key, value=value, category="terraform")
        return workspace_id

    def configured(self, name: str = "tenant-acme", **attributes: Any) -> str:
        workspace_id = self.workspace(name, **attributes)
        self.upload(workspace_id, archive(files("acme", VALUES)))
        return workspace_id

    def upload(self, workspace_id: str, content: bytes) -> str:
        made = self.post(
            f"workspaces/{workspace_id}/configuration-versions", "configuration-versions", auto_queue_runs=False
        ).json()["data"]
        url = made["attributes"]["upload-url"]
        assert httpx.put(url, content=content, trust_env=False).status_code == 200
        return str(made["id"])

    def run(self, workspace_id: str, **attributes: Any) -> str:
        relations = {"workspace": {"data": {"id": workspace_id, "type": "workspaces"}}}
        made = self.post("runs", "runs", relations, **attributes)
        assert made.status_code == 201, made.text
        return str(made.json()["data"]["id"])

    def until(self, run_id: str, status: str) -> Any:
        deadline = time.monotonic() + 30
        while True:
            attributes = self.get(f"runs/{run_id}")["attributes"]
            if attributes["status"] == status:
                return attributes
            assert time.monotonic() < deadline, attributes["status"]
            threading.Event().wait(0.02)


@contextmanager
def served(store: Store, folder: Path | None = None, program: str | None = None) -> Iterator[Api]:
    standin = TerraformCloudStandIn(
        store, organization="platform", token=TOKEN, folder=folder, binary=Path(program) if program else None
    )
    with running(standin.app()) as port:
        api = Api(port)
        with closing(api.http):
            yield api


@pytest.fixture(scope="module")
def shared() -> Iterator[Api]:
    with served(Store()) as api:
        yield api


@pytest.fixture
def api(shared: Api) -> Api:
    """The stand-in with no workspace in it."""
    for workspace in shared.get("organizations/platform/workspaces"):
        shared.http.delete(f"/api/v2/workspaces/{workspace['id']}")
    shared.http.put("/_sandbox/faults", json=[])
    return shared


# --- strictness


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_nothing_is_answered_without_the_token(api: Api, header: dict[str, str]) -> None:
    base = str(api.http.base_url)

    for path in ("/api/v2/organizations/platform/workspaces", "/api/v2/runs/run-x", "/anything"):
        answer = httpx.get(base + path, headers=header, trust_env=False)
        assert (answer.status_code, answer.json()) == (401, {"errors": [{"status": "401", "title": "unauthorized"}]})
        assert answer.headers["content-type"] == "application/vnd.api+json"


@pytest.mark.parametrize(
    "path",
    [
        "organizations/other/workspaces",
        "organizations/platform/workspaces/none",
        "workspaces/ws-none",
        "workspaces/ws-none/vars",
        "workspaces/ws-none/runs",
        "workspaces/ws-none/current-state-version",
        "runs/run-none",
        "plans/plan-none",
        "applies/apply-none",
        "configuration-versions/cv-none",
        "state-versions/sv-none",
        "no-such-thing",
    ],
)
def test_what_is_not_there_is_a_404(api: Api, path: str) -> None:
    answer = api.http.get(f"/api/v2/{path}")

    assert (answer.status_code, answer.json()) == (404, {"errors": [{"status": "404", "title": "not found"}]})


def test_a_name_is_taken_once(api: Api) -> None:
    api.workspace()

    again = api.post("organizations/platform/workspaces", "workspaces", name="tenant-acme")

    assert again.status_code == 422
    assert again.json()["errors"] == [
        {
            "status": "422",
            "title": "invalid attribute",
            "detail": "Name has already been taken",
            "source": {"pointer": "/data/attributes/name"},
        }
    ]


@pytest.mark.parametrize(
    "attributes", [{"name": "has space"}, {"name": ""}, {"name": "x", "execution_mode": "y"}, {"name": 1}]
)
def test_wrong_attributes_are_a_422(api: Api, attributes: dict[str, Any]) -> None:
    assert api.post("organizations/platform/workspaces", "workspaces", **attributes).status_code == 422


@pytest.mark.parametrize("key", ["", "hc:x", "a b", "-a", "x" * 129])
def test_tags_have_rules(api: Api, key: str) -> None:
    tags = {"tag-bindings": {"data": [{"type": "tag-bindings", "attributes": {"key": key, "value": "v"}}]}}

    assert api.post("organizations/platform/workspaces", "workspaces", tags, name="x").status_code == 422
    assert api.get("organizations/platform/workspaces") == []


def test_a_body_must_be_jsonapi(api: Api) -> None:
    path = "/api/v2/organizations/platform/workspaces"

    plain = api.http.post(path, json={}, headers={"Content-Type": "application/json"})
    broken = api.http.post(path, content=b"{")
    mistyped = api.post("organizations/platform/workspaces", "vars", name="x")

    assert [answer.status_code for answer in (plain, broken, mistyped)] == [415, 400, 422]


def test_a_variable_is_taken_once_and_a_sensitive_one_stays_hidden(api: Api) -> None:
    path = f"workspaces/{api.workspace()}/vars"

    taken = api.post(path, "vars", key="tier", value="x", category="terraform")
    hidden = api.post(path, "vars", key="secret", value="hunter2", category="terraform", sensitive=True)
    wrong = api.post(path, "vars", key="x", value="x", category="other")

    assert (taken.status_code, hidden.status_code, wrong.status_code) == (422, 201, 422)
    assert [v["attributes"]["value"] for v in api.get(path)] == [*VALUES.values(), None]


def test_workspaces_are_listed_by_page_and_by_tag(api: Api) -> None:
    tags = {"tag-bindings": {"data": [{"type": "tag-bindings", "attributes": {"key": "team", "value": "a"}}]}}
    api.post("organizations/platform/workspaces", "workspaces", tags, name="one")
    api.workspace("two")
    params = {"page[size]": 1, "page[number]": 2}

    second = api.http.get("/api/v2/organizations/platform/workspaces", params=params).json()
    tagged = api.get(
        "organizations/platform/workspaces", **{"filter[tagged][0][key]": "team", "filter[tagged][0][value]": "a"}
    )

    assert [w["attributes"]["name"] for w in second["data"]] == ["two"]
    assert second["meta"]["pagination"]["total-count"] == 2
    assert [w["attributes"]["name"] for w in tagged] == ["one"]
    assert api.http.get("/api/v2/organizations/platform/workspaces?page[number]=0").status_code == 400


# --- configurations and runs


def test_an_upload_url_works_once_and_needs_no_token(api: Api) -> None:
    workspace_id = api.workspace()
    path = f"workspaces/{workspace_id}/configuration-versions"
    made = api.post(path, "configuration-versions", auto_queue_runs=False).json()["data"]
    url = made["attributes"]["upload-url"]

    first = httpx.put(url, content=archive(files("acme", VALUES)), trust_env=False)
    second = httpx.put(url, content=b"x", trust_env=False)
    attributes = api.get(f"configuration-versions/{made['id']}")["attributes"]

    assert (first.status_code, second.status_code) == (200, 404)
    assert attributes["status"] == "uploaded"
    assert "upload-url" not in attributes


def test_an_upload_that_is_no_archive_is_errored(api: Api) -> None:
    workspace_id = api.workspace()

    version = api.upload(workspace_id, b"nonsense")

    assert api.get(f"configuration-versions/{version}")["attributes"]["status"] == "errored"
    relations = {"workspace": {"data": {"id": workspace_id, "type": "workspaces"}}}
    assert api.post("runs", "runs", relations).status_code == 422


def test_a_run_waits_to_be_confirmed_and_can_only_do_what_its_state_allows(api: Api) -> None:
    run_id = api.run(api.configured())
    planned = api.until(run_id, "planned")

    assert planned["actions"] == {
        "is-cancelable": False,
        "is-confirmable": True,
        "is-discardable": True,
        "is-force-cancelable": False,
    }
    assert api.post(f"runs/{run_id}/actions/cancel").status_code == 409
    assert api.post(f"runs/{run_id}/actions/force-cancel").status_code == 409
    assert api.post(f"runs/{run_id}/actions/apply").status_code == 202
    api.until(run_id, "applied")
    refused = api.post(f"runs/{run_id}/actions/discard")
    assert refused.status_code == 409
    assert refused.json()["errors"][0]["title"] == "transition not allowed"


def test_a_second_run_waits_for_the_first(api: Api) -> None:
    workspace_id = api.configured()
    first = api.run(workspace_id)
    api.until(first, "planned")
    second = api.run(workspace_id)

    waiting = api.get(f"runs/{second}")["attributes"]
    api.post(f"runs/{first}/actions/discard")

    assert (waiting["status"], waiting["position-in-queue"]) == ("pending", 1)
    api.until(second, "planned")
    assert [run["id"] for run in api.get(f"workspaces/{workspace_id}/runs")] == [second, first]


def test_a_lock_holds_runs_back_and_protects_the_workspace(api: Api) -> None:
    workspace_id = api.configured()
    lock = api.http.post(f"/api/v2/workspaces/{workspace_id}/actions/lock", json={"reason": "maintenance"})
    run_id = api.run(workspace_id)

    assert lock.json()["data"]["attributes"]["locked-reason"] == "maintenance"
    assert api.get(f"runs/{run_id}")["attributes"]["status"] == "pending"
    assert api.post(f"workspaces/{workspace_id}/actions/safe-delete").status_code == 409
    assert api.post(f"workspaces/{workspace_id}/actions/unlock").status_code == 200
    assert api.post(f"workspaces/{workspace_id}/actions/unlock").status_code == 409
    api.until(run_id, "planned")


def test_a_workspace_with_resources_is_not_safely_deleted(api: Api) -> None:
    workspace_id = api.configured(auto_apply=True)
    api.until(api.run(workspace_id), "applied")

    assert api.post(f"workspaces/{workspace_id}/actions/safe-delete").status_code == 409
    api.until(api.run(workspace_id, is_destroy=True), "applied")
    assert api.post(f"workspaces/{workspace_id}/actions/safe-delete").status_code == 204
    assert api.http.get(f"/api/v2/workspaces/{workspace_id}").status_code == 404


def test_a_held_run_stays_pending_until_it_is_cancelled(api: Api) -> None:
    workspace_id = api.configured()
    api.http.put("/_sandbox/faults", json=[{"operation": "POST /api/v2/runs", "mode": "slow", "times": 1}])
    run_id = api.run(workspace_id)

    assert api.get(f"runs/{run_id}")["attributes"]["status"] == "pending"
    assert api.post(f"runs/{run_id}/actions/cancel").status_code == 202
    assert api.get(f"runs/{run_id}")["attributes"]["status"] == "canceled"


def test_an_unusable_configuration_ends_errored_with_a_log(api: Api) -> None:
    workspace_id = api.workspace()
    api.upload(workspace_id, archive({"main.tf": 'resource "aws_vpc" "it" {}\n'}))
    run_id = api.run(workspace_id)
    api.until(run_id, "errored")

    plan = api.get(f"runs/{run_id}/plan")["attributes"]
    log = httpx.get(plan["log-read-url"], trust_env=False).text

    assert plan["status"] == "errored"
    assert log.startswith("\x02Error: ")
    assert "needs a real terraform" in log


def test_the_inspection_shows_workspaces_and_resources(api: Api) -> None:
    workspace_id = api.configured(auto_apply=True)
    api.until(api.run(workspace_id), "applied")

    shown = api.http.get("/_sandbox/state", params={"tenant": "acme"}).json()["objects"]
    other = api.http.get("/_sandbox/state", params={"tenant": "acme2"}).json()["objects"]

    assert [(o["kind"], o["ours"]) for o in shown] == [("workspace", False)] + [("resource", False)] * 5
    assert other == []


# --- who carries the runs out


@pytest.mark.parametrize("worker", WORKERS)
def test_both_workers_give_the_same_answers(worker: str, tmp_path: Path) -> None:
    program = PROGRAM if worker == "program" else None
    with served(Store(), tmp_path, program) as api:
        workspace_id = api.configured()
        run_id = api.run(workspace_id)
        planned = api.until(run_id, "planned")
        plan = api.get(f"runs/{run_id}/plan")["attributes"]
        api.post(f"runs/{run_id}/actions/apply")
        api.until(run_id, "applied")
        applied = api.get(f"runs/{run_id}/apply")["attributes"]
        again = api.until(api.run(workspace_id), "planned_and_finished")
        outputs = api.get(f"workspaces/{workspace_id}/current-state-version-outputs")
        resources = api.get(f"workspaces/{workspace_id}/resources")
        destroyed = api.run(workspace_id, is_destroy=True, auto_apply=True)
        api.until(destroyed, "applied")
        counts = api.get(f"runs/{destroyed}/plan")["attributes"]
        log = httpx.get(applied["log-read-url"], trust_env=False).text

        assert (planned["has-changes"], again["has-changes"]) == (True, False)
        assert counted(plan) == counted(applied) == (5, 0, 0)
        assert counted(counts) == (0, 0, 5)
        assert (plan["status"], applied["status"]) == ("finished", "finished")
        assert {o["attributes"]["name"]: o["attributes"]["type"] for o in outputs} == dict.fromkeys(
            ("bucket_name", "compute_cluster_name", "database_endpoint", "load_balancer_dns", "vpc_id"), "string"
        )
        assert [r["attributes"]["address"] for r in resources] == [
            f"module.tenant_acme.terraform_data.{name}"
            for name in ("bucket", "compute", "database", "load_balancer", "network")
        ]
        assert api.get(f"workspaces/{workspace_id}/resources") == []
        assert "Apply complete! Resources: 5 added" in log
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("worker", WORKERS)
def test_half_an_apply_leaves_half_and_says_quota(worker: str, tmp_path: Path) -> None:
    with served(Store(), tmp_path, PROGRAM if worker == "program" else None) as api:
        workspace_id = api.configured()
        run_id = api.run(workspace_id)
        api.until(run_id, "planned")
        fault = {"operation": "POST /api/v2/runs/*/actions/apply", "mode": "half_done", "times": 1}
        api.http.put("/_sandbox/faults", json=[fault])

        assert api.post(f"runs/{run_id}/actions/apply").status_code == 202
        api.until(run_id, "errored")
        applied = api.get(f"runs/{run_id}/apply")["attributes"]

        assert applied["status"] == "errored"
        assert "QuotaExceeded" in httpx.get(applied["log-read-url"], trust_env=False).text
        assert 0 < len(api.get(f"workspaces/{workspace_id}/resources")) < 5
        api.until(api.run(workspace_id, auto_apply=True), "applied")
        assert len(api.get(f"workspaces/{workspace_id}/resources")) == 5


@needs_program
def test_a_real_terraform_takes_over_what_the_own_planner_made(tmp_path: Path) -> None:
    store = Store()
    with served(store) as api:
        workspace_id = api.configured(auto_apply=True)
        api.until(api.run(workspace_id), "applied")
    with served(store, tmp_path, PROGRAM) as api:
        api.until(api.run(workspace_id), "planned_and_finished")
        api.until(api.run(workspace_id, is_destroy=True), "applied")
        assert api.get(f"workspaces/{workspace_id}/resources") == []


@needs_program
def test_the_program_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_VAR_tier", "from-outside")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "/nowhere")
    worker = TerraformBinary(Path(str(PROGRAM)), tmp_path)
    job = Job("run-1", files("acme", VALUES), {k: v for k, v in VALUES.items() if k != "tier"}, None)

    planned = asyncio.run(worker.plan(job))

    assert not planned.failed, planned.log
    assert "from-outside" not in planned.log
    assert "Warning" not in planned.log


@pytest.mark.parametrize("worker", WORKERS)
def test_a_changed_variable_changes_resources_in_place(worker: str, tmp_path: Path) -> None:
    carried_out: Worker = OwnPlanner() if worker == "own planner" else TerraformBinary(Path(str(PROGRAM)), tmp_path)
    configuration = files("acme", VALUES)

    async def twice() -> tuple[Any, Any, Any]:
        first = Job("run-1", configuration, VALUES, None)
        await carried_out.plan(first)
        made = await carried_out.apply(first)
        second = Job("run-2", configuration, VALUES | {"tier": "bridge"}, made.state)
        planned = await carried_out.plan(second)
        return made, planned, await carried_out.apply(second)

    made, planned, changed = asyncio.run(twice())

    assert planned.counts == changed.counts == (0, 1, 0)
    assert ids(made.state) == ids(changed.state)


# --- surviving


def test_everything_outlives_a_restart_and_a_run_goes_on(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "terraform.db")) as store, served(store) as api:
        workspace_id = api.configured()
        run_id = api.run(workspace_id)
        api.until(run_id, "planned")
        run = store.get("run", run_id) or {}
        store.put("run", run_id, run | {"status": "planning"})
    with closing(Store(tmp_path / "terraform.db")) as store, served(store) as api:
        api.until(run_id, "planned")
        api.post(f"runs/{run_id}/actions/apply")
        api.until(run_id, "applied")
        assert len(api.get(f"workspaces/{workspace_id}/resources")) == 5


def test_an_apply_that_was_cut_off_has_failed_after_a_restart(tmp_path: Path) -> None:
    store = Store()
    with served(store) as api:
        run_id = api.run(api.configured())
        api.until(run_id, "planned")
    run = store.get("run", run_id) or {}
    run["status"] = "applying"
    with served(store) as api:
        api.until(run_id, "errored")


def test_a_state_is_written_only_under_a_lock_and_with_a_higher_serial(api: Api) -> None:
    workspace_id = api.configured(auto_apply=True)
    api.until(api.run(workspace_id), "applied")
    path = f"workspaces/{workspace_id}/state-versions"
    state = {"version": 4, "serial": 2, "lineage": "x", "outputs": {}, "resources": []}
    content = base64.b64encode(json.dumps(state).encode()).decode()

    unlocked = api.post(path, "state-versions", serial=2, state=content)
    api.post(f"workspaces/{workspace_id}/actions/lock")
    stale = api.post(path, "state-versions", serial=1, state=content)
    broken = api.post(path, "state-versions", serial=2, state="nonsense")
    right = api.post(path, "state-versions", serial=2, state=content)

    assert [answer.status_code for answer in (unlocked, stale, broken, right)] == [409, 422, 422, 201]
    assert right.json()["data"]["relationships"]["run"] == {"data": None}
    filters = {"filter[organization][name]": "platform", "filter[workspace][name]": "tenant-acme"}
    assert len(api.get("state-versions", **filters)) == 2
    assert api.http.get("/api/v2/state-versions").status_code == 400


# --- the language


def test_the_language_knows_what_a_configuration_needs() -> None:
    block = parse('a "b" {\n  # note\n  x = 1\n  y = [true, null, -2.5]\n  z = { k = "v-${var.t}" }\n  w = a.b.c\n}\n')

    inner = block.blocks[0]
    assert (inner.kind, inner.labels) == ("a", ("b",))
    assert inner.attributes == {
        "x": 1,
        "y": [True, None, -2.5],
        "z": {"k": Template(("v-", Reference(("var", "t")), ""))},
        "w": Reference(("a", "b", "c")),
    }


@pytest.mark.parametrize("text", ["a {", "a = ", 'x = "${f(1)}"', "x = 1 + 2", "}", 'a "b"', "x = { y"])
def test_the_language_refuses_the_rest(text: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(text)


@pytest.mark.parametrize(
    "configuration",
    [
        {"main.tf": 'module "m" { source = "hashicorp/x/aws" }'},
        {"main.tf": 'resource "terraform_data" "a" { input = terraform_data.a.id }'},
        {"main.tf": 'output "x" { value = var.nothing }'},
        {"main.tf": 'variable "must" { type = string }\noutput "x" { value = var.must }'},
        {"main.tf": 'resource "terraform_data" "a" { triggers_replace = 1 }'},
    ],
)
def test_the_own_planner_says_what_it_cannot_do(configuration: dict[str, str]) -> None:
    planned = asyncio.run(OwnPlanner().plan(Job("run-1", configuration, {}, None)))

    assert planned.failed
    assert planned.log.startswith("Error: ")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.tf", "a/../../b"])
def test_an_archive_cannot_leave_its_directory(path: str) -> None:
    with pytest.raises(BadArchive):
        unpacked(archive({path: "x"}))


def counted(phase: Any) -> tuple[int, int, int]:
    return phase["resource-additions"], phase["resource-changes"], phase["resource-destructions"]


def ids(state: Any) -> dict[str, str]:
    return {entry["name"]: entry["instances"][0]["attributes"]["id"] for entry in state["resources"]}
