"""The contract of the Terraform Cloud adapter, held against the stand-in, or against a real server when one is given.

A real one: TENANT_PIPELINES_TEST_TERRAFORM_URL, ..._TERRAFORM_ORGANIZATION and ..._TERRAFORM_TOKEN. Its tests make and
remove workspaces of the names tenant-acme and tenant-neighbour.
"""

import base64
import hashlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx
import pytest
from pytfe import TFEClient, TFEConfig
from pytfe.models import (
    RunCreateOptions,
    StateVersionCreateOptions,
    TagBinding,
    WorkspaceCreateOptions,
    WorkspaceLockOptions,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.serving import running
from sandbox.terraform import TerraformCloudStandIn
from tenant_pipelines.adapters.terraform import TerraformCloud, TerraformSettings
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InfrastructureFailed,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import Applied, Infrastructure, Look
from tests.conftest import Fence, FenceLowered

TOKEN = "standin.atlasv1.0123456789abcdefghijklmnopqrstuvwxyz"
WORKSPACE = "tenant-acme"
CREATE = "POST /api/v2/organizations/*/workspaces"
START = "POST /api/v2/runs"
CONFIRM = "POST /api/v2/runs/*/actions/apply"
UPLOAD = "PUT /v1/object/*"
REMOVE = "POST /api/v2/workspaces/*/actions/safe-delete"
PARTS = ["bucket", "compute", "database", "load_balancer", "network"]

Make = Callable[..., Call]
T = TypeVar("T")


@dataclass
class World:
    """Terraform Cloud as the tests see it; `standin` is None for a real one."""

    settings: TerraformSettings
    operator: TFEClient
    writes: list[str]
    standin: TerraformCloudStandIn | None = None

    @property
    def only_sandbox(self) -> TerraformCloudStandIn:
        """The stand-in, or the end of the test where there is none."""
        if self.standin is None:
            pytest.skip("a real Terraform Cloud has no fault switch")
        return self.standin

    def break_(self, operation: str, mode: str, times: int = 1) -> None:
        """Set the switch."""
        _ = self.only_sandbox
        fault = {"operation": operation, "mode": mode, "times": times}
        httpx.put(f"{self.settings.address}/_sandbox/faults", json=[fault]).raise_for_status()

    def runs(self, workspace: str = WORKSPACE) -> list[dict[str, Any]]:
        """The runs of a workspace, newest first, as an operator sees them."""
        found = self.operator.workspaces.read(workspace, organization=self.settings.organization)
        return list(self.operator.runs.t.request("GET", f"/api/v2/workspaces/{found.id}/runs").json()["data"])

    def names(self) -> set[str]:
        """The workspaces that are there."""
        return {str(w.name) for w in self.operator.workspaces.list(self.settings.organization)}

    def foreign(self, name: str = WORKSPACE, **tags: str) -> str:
        """A workspace that somebody else made; its id."""
        bindings = [TagBinding(key=key.replace("_", "-"), value=value) for key, value in tags.items()]
        options = WorkspaceCreateOptions.model_validate({"name": name, "tag_bindings": bindings})
        return str(self.operator.workspaces.create(self.settings.organization, options).id)


def counting(app: ASGIApp, writes: list[str]) -> ASGIApp:
    """The app, with every request noted that could change something."""

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "GET" and not scope["path"].startswith("/_sandbox"):
            writes.append(f"{scope['method']} {scope['path']}")
        await app(scope, receive, send)

    return entry


@pytest.fixture(scope="module")
def server() -> Iterator[World]:
    """One server for all tests of this module."""
    url = os.environ.get("TENANT_PIPELINES_TEST_TERRAFORM_URL")
    if url is not None:
        organization = os.environ["TENANT_PIPELINES_TEST_TERRAFORM_ORGANIZATION"]
        token = os.environ["TENANT_PIPELINES_TEST_TERRAFORM_TOKEN"]
        settings = TerraformSettings(url, organization, token, look_again_after=2.0)
        with operator_of(settings) as operator:
            yield World(settings, operator, [])
        return
    standin = TerraformCloudStandIn(organization="platform", token=TOKEN)
    writes: list[str] = []
    with running(counting(standin.app(), writes)) as port:
        settings = TerraformSettings(f"http://127.0.0.1:{port}", "platform", TOKEN, look_again_after=0.02)
        with operator_of(settings) as operator:
            yield World(settings, operator, writes, standin)


def operator_of(settings: TerraformSettings) -> TFEClient:
    config = TFEConfig(address=settings.address, token=settings.token, max_retries=0, http2=False, ca_bundle=None)
    return TFEClient(config)


@pytest.fixture
def world(server: World) -> World:
    """The server with nothing in it (a real one: with whatever is in it)."""
    if server.standin is not None:
        server.standin.switch.replace([])
        store = server.standin.store
        for kind, key in [(kind, key) for kind, key, _ in store.items() if kind != "counter"]:
            store.delete(kind, key)
    server.writes.clear()
    return server


@pytest.fixture(scope="module")
def adapter(server: World) -> Iterator[TerraformCloud]:
    """The adapter under test."""
    made = TerraformCloud(server.settings)
    yield made
    made.close()


@pytest.fixture
def cloud(world: World, adapter: TerraformCloud) -> TerraformCloud:
    """The adapter, and nothing on its server."""
    return adapter


@pytest.fixture
def impatient(fence: Fence) -> Make:
    """Makes calls of which each request gets little time, however many of them there are."""

    def make(*, key: str = "step") -> Call:
        return Call(key=key, deadline=0.7, fence=fence, clock=lambda: 0.0)

    return make


def ensure(cloud: TerraformCloud, mark: Mark, call: Call, workspace: str = WORKSPACE) -> Created | Adopted:
    variables = {"tenant_id": mark.tenant_id, "tenant_key": mark.tenant_key, "tier": "silo"}
    made = cloud.ensure_workspace(workspace=workspace, variables=variables, mark=mark, call=call)
    assert isinstance(made, Created | Adopted)
    return made


def apply(cloud: TerraformCloud, mark: Mark, call: Make, *, key: str = "step", token: Any = None) -> Applied:
    name = f"tenant-{mark.tenant_key}"

    def look(latest: Any) -> Applied | Pending:
        return cloud.apply(workspace=name, key=mark.tenant_key, mark=mark, token=latest, call=call(key=key))

    return followed(look, token)


def destroy(
    cloud: TerraformCloud, mark: Mark, call: Make, *, key: str = "undo", token: Any = None
) -> Sequence[Removal]:
    name = f"tenant-{mark.tenant_key}"

    def look(latest: Any) -> Sequence[Removal] | Pending:
        return cloud.destroy(workspace=name, key=mark.tenant_key, mark=mark, token=latest, call=call(key=key))

    return followed(look, token)


def followed(look: Callable[[Any], T | Pending], token: Any = None, seconds: float = 60.0) -> T:
    """Look again, as the engine does, until it is no longer pending."""
    deadline = time.monotonic() + seconds
    while True:
        outcome = look(token)
        if not isinstance(outcome, Pending):
            return outcome
        assert time.monotonic() < deadline, outcome.reason
        token = outcome.token
        threading.Event().wait(outcome.look_again_after)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def provisioned(cloud: TerraformCloud, mark: Mark, call: Make) -> Applied:
    ensure(cloud, mark, call(), f"tenant-{mark.tenant_key}")
    return apply(cloud, mark, call)


def addresses(mark: Mark) -> list[str]:
    return [f"module.tenant_{mark.tenant_key}.terraform_data.{part}" for part in PARTS]


def test_it_fulfils_the_protocol(world: World, cloud: TerraformCloud) -> None:
    infrastructure: Infrastructure = cloud

    assert infrastructure is cloud


# --- the workspace


def test_a_workspace_is_created_with_its_mark_and_variables(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    made = ensure(cloud, mark, call())

    found = world.operator.workspaces.read(WORKSPACE, organization=world.settings.organization)
    bindings = world.operator.workspaces.list_tag_bindings(found.id)
    variables = {v.key: (v.value, v.category) for v in world.operator.variables.list(found.id)}
    assert isinstance(made, Created)
    assert (made.ref.kind, made.ref.name, made.ref.id) == ("workspace", WORKSPACE, found.id)
    assert {b.key: b.value for b in bindings} == {
        "tenant-id": mark.tenant_id,
        "tenant-key": "acme",
        "managed-by": "tenant-pipelines",
    }
    assert variables == {
        "tenant_id": (mark.tenant_id, "terraform"),
        "tenant_key": ("acme", "terraform"),
        "tier": ("silo", "terraform"),
    }
    assert (found.execution_mode, found.auto_apply) == ("remote", False)
    destroy(cloud, mark, call)


def test_our_own_workspace_is_adopted_and_brought_up_to_date(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    first = ensure(cloud, mark, call())
    organization = world.settings.organization
    body = {"data": {"type": "workspaces", "attributes": {"auto-apply": True}}}
    path = f"/api/v2/organizations/{organization}/workspaces/{WORKSPACE}"
    world.operator.workspaces.t.request("PATCH", path, json_body=body)

    again = cloud.ensure_workspace(
        workspace=WORKSPACE, variables={"tier": "silo", "region": "eu"}, mark=mark, call=call()
    )

    found = world.operator.workspaces.read(WORKSPACE, organization=organization)
    variables = {v.key: v.value for v in world.operator.variables.list(found.id)}
    assert isinstance(again, Adopted)
    assert again.ref.id == first.ref.id
    assert found.auto_apply is False
    assert variables == {"tenant_id": mark.tenant_id, "tenant_key": "acme", "tier": "silo", "region": "eu"}
    destroy(cloud, mark, call)


@pytest.mark.parametrize("tags", [{}, {"managed_by": "tenant-pipelines", "tenant_id": "another", "tenant_key": "acme"}])
def test_a_foreign_workspace_is_refused_everywhere_and_left_alone(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, tags: dict[str, str]
) -> None:
    stranger = world.foreign(**tags)
    world.writes.clear()

    with pytest.raises(ResourceAlreadyExists, match="workspace tenant-acme exists") as refused:
        ensure(cloud, mark, call())
    with pytest.raises(ResourceAlreadyExists):
        apply(cloud, mark, call)
    removal = destroy(cloud, mark, call)

    assert isinstance(removal[0], NotOurs)
    assert "another" not in str(refused.value)
    assert cloud.find(workspace=WORKSPACE, mark=mark, call=call()) == []
    assert world.writes == []
    assert list(world.operator.variables.list(stranger)) == []
    world.operator.workspaces.delete_by_id(stranger)


def test_a_workspace_that_appears_between_looking_and_creating_is_adopted_or_refused(
    world: World, cloud: TerraformCloud, mark: Mark, neighbour: Mark, call: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure(cloud, mark, call())
    look = cloud._workspaces.read

    def late(name: str, its_call: Call) -> Any:
        monkeypatch.setattr(cloud._workspaces, "read", look)

    monkeypatch.setattr(cloud._workspaces, "read", late)
    again = ensure(cloud, mark, call())
    monkeypatch.setattr(cloud._workspaces, "read", late)
    with pytest.raises(ResourceAlreadyExists):
        ensure(cloud, neighbour, call(), WORKSPACE)

    assert isinstance(again, Adopted)
    assert again.ref == made.ref
    destroy(cloud, mark, call)


def test_a_variable_that_appears_between_looking_and_creating_gets_its_value(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure(cloud, mark, call())
    look = cloud._workspaces.variables

    def late(workspace_id: str, its_call: Call) -> dict[str, Any]:
        monkeypatch.setattr(cloud._workspaces, "variables", look)
        return {key: value for key, value in look(workspace_id, its_call).items() if key != "tier"}

    monkeypatch.setattr(cloud._workspaces, "variables", late)
    cloud.ensure_workspace(workspace=WORKSPACE, variables={"tier": "bridge"}, mark=mark, call=call())

    assert {v.key: v.value for v in world.operator.variables.list(made.ref.id)}["tier"] == "bridge"
    destroy(cloud, mark, call)


def test_an_unusable_variable_is_refused_before_anything_is_made(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    with pytest.raises(Validation, match="cannot be the name"):
        cloud.ensure_workspace(workspace=WORKSPACE, variables={"1 = {}": "x"}, mark=mark, call=call())

    assert world.writes == []


def test_a_wrong_organization_is_a_matter_of_configuration(world: World, mark: Mark, call: Make) -> None:
    lost = TerraformCloud(replace(world.settings, organization="nobody-has-this-organization"))

    with pytest.raises(InvalidConfiguration, match="organization nobody-has-this-organization"):
        ensure(lost, mark, call())
    lost.close()


# --- apply


def test_apply_makes_everything_and_tells_outputs_and_ids(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    applied = provisioned(cloud, mark, call)

    assert sorted(applied.resources) == addresses(mark)
    assert len(set(applied.resources.values())) == len(PARTS)
    assert applied.outputs["database_endpoint"] == "tenant-acme.db.internal:5432"
    assert applied.outputs["vpc_id"] == f"vpc-{applied.resources[addresses(mark)[-1]]}"
    assert set(applied.outputs) >= {"load_balancer_dns", "bucket_name", "compute_cluster_name"}
    run = world.runs()[0]["attributes"]
    assert (run["status"], run["auto-apply"]) == ("applied", False)
    assert "acme" in run["message"]
    assert "[step]" in run["message"]
    destroy(cloud, mark, call)


def test_the_uploaded_configuration_is_one_module_of_the_tenant(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    from sandbox.terraform.work import unpacked  # noqa: PLC0415 - only this test looks into it

    standin = world.only_sandbox
    provisioned(cloud, mark, call)

    files = unpacked(base64.b64decode(standin.store.all("configuration")[0]["content"]))
    assert files["main.tf"].count('module "') == 1
    assert 'module "tenant_acme"' in files["main.tf"]
    assert "resource" not in files["main.tf"]
    assert mark.tenant_id not in "".join(files.values())


def test_apply_again_for_the_same_step_starts_no_second_run(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    first = provisioned(cloud, mark, call)

    again = apply(cloud, mark, call)

    assert again == first
    assert len(world.runs()) == 1
    destroy(cloud, mark, call)


def test_apply_of_another_generation_changes_nothing_that_is_right(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    first = provisioned(cloud, mark, call)

    again = apply(cloud, mark, call, key="step of generation 2")

    assert again == first
    assert [run["attributes"]["status"] for run in world.runs()] == ["planned_and_finished", "applied"]
    destroy(cloud, mark, call)


def test_a_configuration_is_waited_for_until_it_is_taken_in(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    made = ensure(cloud, mark, call())
    version = world.operator.configuration_versions.create(made.ref.id)
    token = {"phase": "configuration", "configuration_version": version.id}

    waiting = cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=token, call=call())
    nonsense = httpx.put(str(version.upload_url), content=b"no archive", trust_env=False)

    assert isinstance(waiting, Pending)
    assert waiting.token == token
    assert f"configuration {version.id} is pending" in waiting.reason
    assert nonsense.is_success
    with pytest.raises(Validation, match=f"configuration {version.id}"):
        apply(cloud, mark, call, token=token)
    destroy(cloud, mark, call)


def test_apply_without_a_workspace_says_so(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    with pytest.raises(ResourceNotFound, match="workspace tenant-acme is not there"):
        apply(cloud, mark, call)


def test_a_run_that_is_under_way_is_named_while_it_is_pending(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    ensure(cloud, mark, call())
    world.break_(START, "slow")

    waiting = cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=call())

    assert isinstance(waiting, Pending)
    assert waiting.token["run_id"] in waiting.reason
    assert f"/app/platform/workspaces/{WORKSPACE}/runs/{waiting.token['run_id']}" in waiting.reason


@pytest.mark.parametrize(
    ("status", "words"), [("policy_override", "override"), ("post_plan_awaiting_decision", "run task")]
)
def test_a_run_that_waits_for_people_is_pending_with_the_reason(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, status: str, words: str
) -> None:
    standin = world.only_sandbox
    token = held_run(world, cloud, mark, call)
    run = standin.store.all("run")[0]
    run["status"] = status

    waiting = cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=token, call=call())

    assert isinstance(waiting, Pending)
    assert words in waiting.reason


def test_a_lock_of_somebody_else_is_named_while_the_run_waits(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    made = ensure(cloud, mark, call())
    world.operator.workspaces.lock(made.ref.id, WorkspaceLockOptions(reason="maintenance"))

    waiting = cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=call())

    assert isinstance(waiting, Pending)
    assert "locked by somebody" in waiting.reason
    world.operator.workspaces.unlock(made.ref.id)
    apply(cloud, mark, call, token=waiting.token)
    destroy(cloud, mark, call)


def test_a_run_that_was_discarded_by_hand_is_a_failure(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    token = held_run(world, cloud, mark, call)
    world.operator.runs.discard(token["run_id"])

    with pytest.raises(InfrastructureFailed, match=f"Terraform run {token['run_id']} ended discarded"):
        apply(cloud, mark, call, token=token)
    destroy(cloud, mark, call)


def test_a_run_that_failed_is_told_with_its_log_and_never_started_again(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    ensure(cloud, mark, call())
    world.break_(CONFIRM, "half_done")
    with pytest.raises(InfrastructureFailed):
        apply(cloud, mark, call)

    for _ in range(2):
        with pytest.raises(InfrastructureFailed) as failed:
            apply(cloud, mark, call)

    run = world.runs()[0]
    assert len(world.runs()) == 1
    assert f"Terraform run {run['id']} ended errored" in str(failed.value)
    assert f"/app/platform/workspaces/{WORKSPACE}/runs/{run['id']}" in str(failed.value)
    assert "QuotaExceeded" in str(failed.value)
    assert not failed.value.retried


def test_what_half_an_apply_left_is_destroyed(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    ensure(cloud, mark, call())
    world.break_(CONFIRM, "half_done")
    with pytest.raises(InfrastructureFailed):
        apply(cloud, mark, call)
    until(lambda: bool(world.runs()[0]["attributes"]["status"] == "errored"))
    left = [ref for ref in cloud.find(workspace=WORKSPACE, mark=mark, call=call()) if ref.kind == "resource"]

    removed = destroy(cloud, mark, call)

    assert 0 < len(left) < len(PARTS)
    assert [removal.ref for removal in removed if removal.ref.kind == "resource"] == left
    assert nothing_left(world)


def test_a_new_generation_completes_what_half_an_apply_left(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    ensure(cloud, mark, call())
    world.break_(CONFIRM, "half_done")
    with pytest.raises(InfrastructureFailed):
        apply(cloud, mark, call)
    with pytest.raises(InfrastructureFailed):
        apply(cloud, mark, call)

    applied = apply(cloud, mark, call, key="step of generation 2")

    assert sorted(applied.resources) == addresses(mark)


def test_a_status_that_the_client_does_not_know_is_no_obstacle(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    token = held_run(world, cloud, mark, call)
    world.only_sandbox.store.all("run")[0]["status"] = "force_canceled"

    with pytest.raises(InfrastructureFailed, match="force_canceled"):
        apply(cloud, mark, call, token=token)
    assert isinstance(destroy(cloud, mark, call)[-1], Removed)


# --- destroy


def test_destroy_removes_everything_and_proves_it(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    applied = provisioned(cloud, mark, call)

    removed = destroy(cloud, mark, call)

    assert [type(removal) for removal in removed] == [Removed] * (len(PARTS) + 1)
    assert {r.ref.name: r.ref.id for r in removed[:-1]} == applied.resources
    assert removed[-1].ref.name == WORKSPACE
    assert WORKSPACE not in world.names()


def test_destroying_twice_finds_nothing_the_second_time(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    provisioned(cloud, mark, call)
    destroy(cloud, mark, call)

    again = destroy(cloud, mark, call)

    assert [type(removal) for removal in again] == [NothingToRemove]


def test_a_workspace_without_resources_is_removed_without_a_run(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    ensure(cloud, mark, call())
    world.writes.clear()

    removed = destroy(cloud, mark, call)

    assert [type(removal) for removal in removed] == [Removed]
    assert "POST /api/v2/runs" not in world.writes


def test_the_proof_outlives_the_workspace(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make
) -> None:
    applied = provisioned(cloud, mark, call)
    world.break_(REMOVE, "timeout_after")
    token: Any = None

    def look(latest: Any) -> Sequence[Removal] | Pending:
        nonlocal token
        token = latest
        return cloud.destroy(workspace=WORKSPACE, key="acme", mark=mark, token=latest, call=impatient(key="undo"))

    with pytest.raises(Outage) as lost:
        followed(look)
    removed = destroy(cloud, mark, call, token=token)

    assert lost.value.lost
    assert {r.ref.name: r.ref.id for r in removed if r.ref.kind == "resource"} == applied.resources
    assert [type(removal) for removal in removed] == [Removed] * (len(PARTS) + 1)


def test_the_log_of_a_failed_run_is_kept_before_the_workspace_goes(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    ensure(cloud, mark, call())
    world.break_(CONFIRM, "half_done")
    with pytest.raises(InfrastructureFailed):
        apply(cloud, mark, call)
    until(lambda: bool(world.runs()[0]["attributes"]["status"] == "errored"))
    failed = world.runs()[0]["id"]
    tokens: list[Any] = []

    def look(latest: Any) -> Sequence[Removal] | Pending:
        tokens.append(latest)
        return cloud.destroy(workspace=WORKSPACE, key="acme", mark=mark, token=latest, call=call(key="undo"))

    followed(look)

    assert tokens[-1]["failed_run"] == failed
    assert "QuotaExceeded" in tokens[-1]["failure"]


def test_resources_taken_out_of_the_state_do_not_count_as_destroyed(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    provisioned(cloud, mark, call)
    take_out_of_the_state(world)

    removed = destroy(cloud, mark, call)

    assert [removal.ref.kind for removal in removed] == ["workspace"]


def test_what_an_operators_destroy_run_removed_counts(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    applied = provisioned(cloud, mark, call)
    found = world.operator.workspaces.read(WORKSPACE, organization=world.settings.organization)
    wanted = {"workspace": {"id": found.id}, "is_destroy": True, "auto_apply": True, "message": "by hand"}
    world.operator.runs.create(RunCreateOptions.model_validate(wanted))
    until(lambda: bool(world.runs()[0]["attributes"]["status"] == "applied"))

    removed = destroy(cloud, mark, call)

    assert {r.ref.name: r.ref.id for r in removed if r.ref.kind == "resource"} == applied.resources


def test_a_run_that_came_before_ours_in_the_queue_is_withdrawn(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    provisioned(cloud, mark, call)
    found = world.operator.workspaces.read(WORKSPACE, organization=world.settings.organization)
    world.break_(START, "slow")
    world.operator.runs.create(RunCreateOptions.model_validate({"workspace": {"id": found.id}, "message": "by hand"}))
    ours = {"workspace": {"id": found.id}, "is_destroy": True, "message": "remove tenant acme [undo]"}
    waiting = world.operator.runs.create(RunCreateOptions.model_validate(ours))

    removed = destroy(cloud, mark, call, token={"phase": "planning", "run_id": waiting.id})

    assert len(removed) == len(PARTS) + 1


@pytest.mark.parametrize("status", ["pending", "planned"])
def test_a_run_under_way_is_ended_before_anything_is_destroyed(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, status: str
) -> None:
    provisioned(cloud, mark, call)
    token = held_run(world, cloud, mark, call, key="step of generation 2")
    world.only_sandbox.store.all("run")[-1]["status"] = status

    first = cloud.destroy(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=call(key="undo"))

    assert isinstance(first, Pending)
    assert token["run_id"] in first.reason
    assert world.runs()[0]["attributes"]["status"] == "discarded"
    assert isinstance(destroy(cloud, mark, call, token=first.token)[-1], Removed)
    assert nothing_left(world)


def test_a_run_that_does_not_end_is_cancelled_then_forced(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    held_run(world, cloud, mark, call)
    world.only_sandbox.store.all("run")[0]["status"] = "planning"
    world.break_("POST /api/v2/runs/*/actions/cancel", "half_done")
    with pytest.raises(Outage):
        destroy(cloud, mark, call)

    second = cloud.destroy(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=call(key="undo"))

    assert isinstance(second, Pending)
    assert "force-canceled" in second.reason
    assert isinstance(destroy(cloud, mark, call, token=second.token)[-1], Removed)


def test_a_failed_destroy_is_told_and_tried_again_only_anew(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    provisioned(cloud, mark, call)
    world.break_(CONFIRM, "half_done")
    with pytest.raises(InfrastructureFailed):
        destroy(cloud, mark, call)
    until(lambda: bool(world.runs()[0]["attributes"]["status"] == "errored"))
    token = {"phase": "applying", "run_id": world.runs()[0]["id"]}

    with pytest.raises(InfrastructureFailed, match="ended errored"):
        destroy(cloud, mark, call, token=token)
    removed = destroy(cloud, mark, call)

    assert len(removed) == len(PARTS) + 1
    assert nothing_left(world)


def test_somebody_elses_lock_stops_the_removal(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    ensure(cloud, mark, call())
    workspace = world.only_sandbox.store.all("workspace")[0]
    workspace["locked_by"] = {"id": "user-SomebodyElse", "type": "users"}

    with pytest.raises(LockHeld, match="workspace tenant-acme is locked by somebody else") as held:
        destroy(cloud, mark, call)

    assert "SomebodyElse" not in str(held.value)
    assert WORKSPACE in world.names()


def test_our_own_lock_is_given_back(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    made = ensure(cloud, mark, call())
    world.operator.workspaces.lock(made.ref.id, WorkspaceLockOptions(reason="left behind"))

    removed = destroy(cloud, mark, call)

    assert [type(removal) for removal in removed] == [Removed]


# --- find and the neighbour


def test_find_tells_the_workspace_and_its_resources(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    assert cloud.find(workspace=WORKSPACE, mark=mark, call=call()) == []

    applied = provisioned(cloud, mark, call)
    found = cloud.find(workspace=WORKSPACE, mark=mark, call=call())

    assert [(ref.kind, ref.name) for ref in found[:1]] == [("workspace", WORKSPACE)]
    assert found[1:] == [ObjectRef("terraform", "resource", a, i) for a, i in applied.resources.items()]
    destroy(cloud, mark, call)


def test_the_neighbour_is_never_touched(
    world: World, cloud: TerraformCloud, mark: Mark, neighbour: Mark, call: Make
) -> None:
    provisioned(cloud, neighbour, call)
    before = cloud.find(workspace="tenant-neighbour", mark=neighbour, call=call())

    provisioned(cloud, mark, call)
    destroy(cloud, mark, call)

    assert cloud.find(workspace="tenant-neighbour", mark=neighbour, call=call()) == before
    assert len(world.runs("tenant-neighbour")) == 1
    destroy(cloud, neighbour, call)


# --- the fence


def test_the_fence_is_asked_before_every_write(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, fence: Fence
) -> None:
    provisioned(cloud, mark, call)
    destroy(cloud, mark, call)

    _ = world.only_sandbox
    assert fence.asked == len(world.writes)
    kinds = {write.rsplit("/", 1)[-1] for write in world.writes}
    assert kinds >= {"workspaces", "vars", "configuration-versions", "runs", "apply", "safe-delete"}


def test_nothing_is_written_behind_a_lowered_fence(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, fence: Fence
) -> None:
    ensure(cloud, mark, call())
    world.writes.clear()
    fence.lowered = True

    for act in (ensure_again, apply, destroy):
        with pytest.raises(FenceLowered):
            act(cloud, mark, call)

    assert world.writes == []


def ensure_again(cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    cloud.ensure_workspace(workspace=WORKSPACE, variables={"tier": "pooled"}, mark=mark, call=call())


def test_a_run_is_not_confirmed_behind_a_lowered_fence(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, fence: Fence
) -> None:
    token = held_run(world, cloud, mark, call)
    world.only_sandbox.store.all("run")[0]["status"] = "planned"
    fence.lowered = True

    with pytest.raises(FenceLowered):
        apply(cloud, mark, call, token=token)

    assert world.runs()[0]["attributes"]["status"] == "planned"


# --- faults


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        (CREATE, "refuse"),
        (CREATE, "timeout_before"),
        (CREATE, "timeout_after"),
        (CREATE, "server_error"),
        (CREATE, "half_done"),
        ("POST /api/v2/workspaces/*/vars", "refuse"),
        ("POST /api/v2/workspaces/*/vars", "half_done"),
    ],
)
def test_a_workspace_whose_creation_went_wrong_is_taken_up_by_the_next_attempt(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make, operation: str, mode: str
) -> None:
    world.break_(operation, mode)

    with pytest.raises(Outage) as failed:
        ensure(cloud, mark, impatient())
    made = ensure(cloud, mark, call())

    assert failed.value.lost
    effect = mode in {"timeout_after", "half_done"} or operation != CREATE
    assert isinstance(made, Adopted if effect else Created)
    assert world.names() == {WORKSPACE}
    assert len(list(world.operator.variables.list(made.ref.id))) == 3


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        (START, "refuse"),
        (START, "timeout_before"),
        (START, "timeout_after"),
        (START, "server_error"),
        (START, "half_done"),
        (CONFIRM, "refuse"),
        (CONFIRM, "timeout_after"),
        (UPLOAD, "timeout_after"),
        (UPLOAD, "server_error"),
        ("POST /api/v2/workspaces/*/configuration-versions", "half_done"),
    ],
)
def test_a_run_whose_answer_was_lost_is_found_again(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make, operation: str, mode: str
) -> None:
    ensure(cloud, mark, call())
    world.break_(operation, mode)

    with pytest.raises(Outage) as failed:
        apply(cloud, mark, impatient)
    applied = apply(cloud, mark, call)

    assert failed.value.lost
    assert sorted(applied.resources) == addresses(mark)
    assert len(world.runs()) == 1


def test_a_workspace_that_appears_late_is_found_by_the_sweep(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make
) -> None:
    world.break_(CREATE, "late_effect")
    with pytest.raises(Outage) as lost:
        ensure(cloud, mark, impatient())

    assert isinstance(destroy(cloud, mark, call)[0], NothingToRemove)
    until(lambda: bool(cloud.find(workspace=WORKSPACE, mark=mark, call=call())))

    assert lost.value.lost
    assert isinstance(destroy(cloud, mark, call)[0], Removed)
    assert nothing_left(world)


def test_a_run_that_appears_late_changes_nothing_and_is_cleared_away(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make
) -> None:
    ensure(cloud, mark, call())
    world.break_(START, "late_effect")
    with pytest.raises(Outage):
        apply(cloud, mark, impatient)

    applied = apply(cloud, mark, call)
    until(lambda: len(world.runs()) == 2)
    until(lambda: all(run["attributes"]["status"] in {"applied", "planned_and_finished"} for run in world.runs()))

    assert apply(cloud, mark, call) == applied
    destroy(cloud, mark, call)
    assert nothing_left(world)


def test_rate_limiting_says_how_long_to_wait(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    world.break_("*", "rate_limited")

    with pytest.raises(Outage, match="rate limiting") as limited:
        ensure(cloud, mark, call())

    assert (limited.value.retry_after, limited.value.lost) == (1.0, False)


@pytest.mark.parametrize("operation", ["GET /api/v2/organizations/*/workspaces/*", UPLOAD])
def test_unauthorized_names_the_system(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, operation: str
) -> None:
    ensure(cloud, mark, call())
    world.break_(operation, "unauthorized")

    with pytest.raises(InvalidCredentials, match="Terraform answered 401 Unauthorized"):
        apply(cloud, mark, call)


@pytest.mark.parametrize("mode", ["rate_limited", "server_error", "timeout_before"])
def test_a_signed_url_is_never_told(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make, mode: str
) -> None:
    ensure(cloud, mark, call())
    world.break_(UPLOAD, mode)

    with pytest.raises(Outage) as failed:
        cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=impatient())

    chain = "".join(traceback.format_exception(failed.value))
    assert world.only_sandbox.store.all("configuration")[0]["upload"] not in chain
    assert failed.value.lost is (mode != "rate_limited")


def test_a_read_that_gets_no_answer_is_not_lost(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, impatient: Make
) -> None:
    world.break_("GET /api/v2/organizations/*/workspaces/*", "timeout_before")

    with pytest.raises(Outage, match=r"ETIMEDOUT\) 127\.0\.0\.1:") as late:
        ensure(cloud, mark, impatient())

    assert not late.value.lost


def test_nobody_listening_is_an_outage_with_host_and_port(world: World, mark: Mark, call: Make) -> None:
    away = TerraformCloud(replace(world.settings, address="http://127.0.0.1:9"))

    with pytest.raises(Outage, match=r"Terraform does not answer: Connection refused \(ECONNREFUSED\) 127\.0\.0\.1:9"):
        ensure(away, mark, call())
    away.close()


@pytest.mark.parametrize(
    ("status", "content", "kind", "words"),
    [
        (200, b"<html>sign in</html>", Answered, "cannot be read"),
        (200, b"[]", Answered, "cannot be read"),
        (403, b"", PermissionDenied, "403 Forbidden"),
        (502, b"<html>", Outage, "HTTP 502"),
        (418, b"", Answered, "HTTP 418"),
    ],
)
def test_an_answer_that_is_not_terraforms_is_a_failure(
    mark: Mark, call: Make, status: int, content: bytes, kind: type[Failure], words: str
) -> None:
    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(content, status, media_type="text/html")(scope, receive, send)

    with running(gate) as port:
        behind = TerraformCloud(TerraformSettings(f"http://127.0.0.1:{port}", "platform", TOKEN))
        with pytest.raises(kind, match=f"Terraform .*{words}"):
            ensure(behind, mark, call())
        behind.close()


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_a_matter_of_configuration(mark: Mark, call: Make, address: str) -> None:
    nowhere = TerraformCloud(TerraformSettings(address, "platform", TOKEN))

    with pytest.raises(InvalidConfiguration, match="cannot be reached at this address"):
        ensure(nowhere, mark, call())
    nowhere.close()


def test_an_organization_name_that_is_none_is_a_matter_of_configuration(world: World, mark: Mark, call: Make) -> None:
    wrong = TerraformCloud(replace(world.settings, organization="a/b"))

    with pytest.raises(InvalidConfiguration, match="cannot be asked"):
        ensure(wrong, mark, call())
    wrong.close()


def test_a_wrong_token_is_told_without_showing_it(world: World, mark: Mark, call: Make) -> None:
    secret = "wrong.atlasv1.9876543210zyxwvutsrqponmlkjihgfedcba"
    stranger = TerraformCloud(replace(world.settings, token=secret))

    with pytest.raises(InvalidCredentials, match="Terraform answered 401 Unauthorized") as refused:
        ensure(stranger, mark, call())

    chain = [refused.value, refused.value.__cause__]
    assert not any(secret in str(link) or secret in repr(link) for link in chain)
    assert secret not in repr(replace(world.settings, token=secret))
    stranger.close()


def held_run(world: World, cloud: TerraformCloud, mark: Mark, call: Make, key: str = "step") -> dict[str, str]:
    """A run of ours that stays pending; the token that follows it."""
    ensure(cloud, mark, call())
    world.break_(START, "slow")
    waiting = cloud.apply(workspace=WORKSPACE, key="acme", mark=mark, token=None, call=call(key=key))
    assert isinstance(waiting, Pending)
    return dict(waiting.token)


def take_out_of_the_state(world: World) -> None:
    """What `terraform state rm module.tenant_acme` does."""
    found = world.operator.workspaces.read(WORKSPACE, organization=world.settings.organization)
    state = json.loads(world.operator.state_versions.download_current(found.id))
    state |= {"resources": [], "serial": state["serial"] + 1}
    content = json.dumps(state).encode()
    wanted = {
        "serial": state["serial"],
        "md5": hashlib.md5(content).hexdigest(),
        "state": base64.b64encode(content).decode(),
    }
    world.operator.workspaces.lock(found.id, WorkspaceLockOptions(reason="state rm"))
    world.operator.state_versions.create(found.id, StateVersionCreateOptions.model_validate(wanted))
    world.operator.workspaces.unlock(found.id)


def nothing_left(world: World) -> bool:
    """Whether the inspection shows nothing of the tenant."""
    _ = world.only_sandbox
    shown = httpx.get(f"{world.settings.address}/_sandbox/state", params={"tenant": "acme"}).json()
    return bool(shown == {"objects": []})


# --- looking from outside of a run


def led_by_looks(cloud: TerraformCloud, side: Callable[[Any], T | Pending], call: Make, fence: Fence) -> tuple[T, int]:
    """As `followed`, but the side is only called when a look has found something to do; and how often it was."""
    token, times = None, 0
    deadline = time.monotonic() + 60
    while True:
        times += 1
        outcome = side(token)
        if not isinstance(outcome, Pending):
            return outcome, times
        token, asked = outcome.token, fence.asked
        while cloud.look(workspace=WORKSPACE, token=token, call=call()) is Look.GOES_ON:
            assert time.monotonic() < deadline, outcome.reason
            threading.Event().wait(0.01)
        assert fence.asked == asked
        threading.Event().wait(outcome.look_again_after)


def test_looks_lead_an_apply_and_a_destroy_to_their_ends(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, fence: Fence
) -> None:
    ensure(cloud, mark, call())

    def apply_it(token: Any) -> Applied | Pending:
        return cloud.apply(workspace=WORKSPACE, key=mark.tenant_key, mark=mark, token=token, call=call(key="step"))

    def destroy_it(token: Any) -> Sequence[Removal] | Pending:
        return cloud.destroy(workspace=WORKSPACE, key=mark.tenant_key, mark=mark, token=token, call=call(key="undo"))

    applied, calls = led_by_looks(cloud, apply_it, call, fence)
    assert sorted(applied.resources) == addresses(mark)
    assert calls <= 5  # begin, start, confirm, done
    removed, _ = led_by_looks(cloud, destroy_it, call, fence)
    assert isinstance(removed[-1], Removed)


def test_a_look_at_a_run_that_waits_finds_that_it_goes_on_and_writes_nothing(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, fence: Fence
) -> None:
    ensure(cloud, mark, call())
    world.break_(START, "slow")
    token: Any = None
    while token is None or "run_id" not in token:
        pending = cloud.apply(workspace=WORKSPACE, key=mark.tenant_key, mark=mark, token=token, call=call())
        assert isinstance(pending, Pending)
        token = pending.token
    asked, written = fence.asked, len(world.writes)

    assert cloud.look(workspace=WORKSPACE, token=token, call=call()) is Look.GOES_ON

    assert (fence.asked, len(world.writes)) == (asked, written)
    world.operator.runs.discard(token["run_id"])
    assert cloud.look(workspace=WORKSPACE, token=token, call=call()) is Look.MOVED
    destroy(cloud, mark, call)


@pytest.mark.parametrize(
    "token",
    [
        {"phase": "applying", "run_id": "run-gone"},
        {"phase": "removing"},
        {"phase": "clearing"},
        {"phase": "unheard of"},
    ],
    ids=lambda token: str(token["phase"]),
)
def test_a_look_that_finds_nothing_to_wait_for_leaves_it_to_the_step(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make, token: dict[str, str]
) -> None:
    assert cloud.look(workspace=WORKSPACE, token=token, call=call()) is Look.MOVED


def test_a_look_at_a_destroy_run_that_others_hold_up_leaves_it_to_the_step(
    world: World, cloud: TerraformCloud, mark: Mark, call: Make
) -> None:
    """The runs before it are to be withdrawn, which is a write."""
    provisioned(cloud, mark, call)
    found = world.operator.workspaces.read(WORKSPACE, organization=world.settings.organization)
    world.break_(START, "slow")
    start = RunCreateOptions.model_validate({"workspace": {"id": found.id}, "message": "by an operator"})
    world.operator.runs.create(start)
    ours = RunCreateOptions.model_validate(
        {"workspace": {"id": found.id}, "message": "ours [undo]", "is_destroy": True}
    )
    behind = world.operator.runs.create(ours)

    look = cloud.look(workspace=WORKSPACE, token={"phase": "planning", "run_id": behind.id}, call=call())

    assert look is Look.MOVED
    destroy(cloud, mark, call)


def test_a_look_tells_an_outage_from_an_answer(world: World, cloud: TerraformCloud, mark: Mark, call: Make) -> None:
    world.break_("GET /api/v2/runs/*", "server_error")

    with pytest.raises(Outage):
        cloud.look(workspace=WORKSPACE, token={"phase": "applying", "run_id": "run-1"}, call=call())
