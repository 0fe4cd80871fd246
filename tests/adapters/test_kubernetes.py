"""The contract of the Kubernetes adapter, with the real client library over a real socket.

Against a real cluster: TENANT_PIPELINES_TEST_KUBERNETES_URL, _TOKEN (a service account with the provisioner's
ClusterRole), _ADMIN_TOKEN (to look behind the curtain), _CA (PEM file), _IMAGE (one that answers 200 on /healthz at
_PORT). The tests that need the fault switch are skipped then.
"""

import base64
import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.kubernetes import OPERATOR, PROVISIONER, KubernetesStandIn, Timing, User
from sandbox.serving import running
from tenant_pipelines.adapters.kubernetes import Kubernetes, KubernetesConfiguration, manifests, rollout
from tenant_pipelines.adapters.kubernetes.answers import Condition, Deployment
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    Validation,
)
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import Application, Look, Platform
from tests.conftest import Fence, FenceLowered

PREFIX = "TENANT_PIPELINES_TEST_KUBERNETES_"
REAL = os.environ.get(f"{PREFIX}URL")
TOKEN = os.environ.get(f"{PREFIX}TOKEN", "token-of-the-provisioner")
ADMIN = os.environ.get(f"{PREFIX}ADMIN_TOKEN", TOKEN if REAL else "token-of-the-operator")
STRANGER = "token-of-somebody-without-rights"
CA = os.environ.get(f"{PREFIX}CA")
IMAGE = os.environ.get(f"{PREFIX}IMAGE", "registry.example/app:1")
PORT = int(os.environ.get(f"{PREFIX}PORT", "8080"))
OF_THE_SANDBOX = pytest.mark.skipif(REAL is not None, reason="needs the fault switch of the stand-in")
PATIENCE = 40.0 if REAL else 5.0

NEW_NAMESPACE = "POST /api/v1/namespaces"
NEW_SECRET = "PATCH /api/v1/namespaces/*/secrets/*"
NEW_DEPLOYMENT = "PATCH /apis/apps/v1/namespaces/*/deployments/*"
DELETION = "DELETE /api/v1/namespaces/*"
WRITES_OF_A_DEPLOY = 8
Calls = Callable[..., Call]


@dataclass(frozen=True)
class World:
    """A cluster, and the look behind the curtain."""

    url: str
    admin: httpx.Client
    progress_deadline: int = 10

    @property
    def config(self) -> KubernetesConfiguration:
        ca = Path(CA) if CA else None
        deadline = self.progress_deadline
        return KubernetesConfiguration(self.url, TOKEN, ca_file=ca, port=PORT, progress_deadline=deadline)

    def break_(self, operation: str, mode: str, times: int = 1) -> None:
        fault = {"operation": operation, "mode": mode, "times": times}
        assert self.admin.put("/_sandbox/faults", json=[fault]).status_code == 200

    def read(self, path: str) -> Any:
        answer = self.admin.get(path)
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def namespace(self, name: str) -> Any:
        return self.read(f"/api/v1/namespaces/{name}")

    def deployment(self, namespace: str) -> Any:
        return self.read(f"/apis/apps/v1/namespaces/{namespace}/deployments/app")

    def make_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        body = {"metadata": {"name": name, "labels": dict(labels)}}
        self.admin.post("/api/v1/namespaces", json=body).raise_for_status()

    def delete_namespace(self, name: str) -> None:
        self.admin.delete(f"/api/v1/namespaces/{name}")

    def hold(self, name: str) -> Callable[[], None]:
        """Put something into the namespace that keeps it from going; answers what lets go of it."""
        held = f"/api/v1/namespaces/{name}/configmaps"
        body = {"metadata": {"name": "hold", "finalizers": ["example.com/hold"]}}
        self.admin.post(held, json=body).raise_for_status()
        header = {"Content-Type": "application/merge-patch+json"}
        free = {"metadata": {"finalizers": None}}

        def let_go() -> None:
            self.admin.patch(f"{held}/hold", json=free, headers=header).raise_for_status()

        return let_go


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if REAL is not None:
        yield REAL
        return
    users = {TOKEN: PROVISIONER, ADMIN: OPERATOR, STRANGER: User("stranger", frozenset())}
    with running(KubernetesStandIn(users=users, timing=Timing(rollout=0.05, deletion=0.05)).app()) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def world(url: str) -> Iterator[World]:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    with httpx.Client(base_url=url, headers=headers, verify=ssl.create_default_context(cafile=CA), timeout=10) as admin:
        yield World(url, admin)
        if REAL is None:
            admin.put("/_sandbox/faults", json=[])


@pytest.fixture
def name(world: World) -> Iterator[str]:
    """A namespace's name that nobody has used before; removed afterwards."""
    chosen = f"tenant-acme-{uuid.uuid4().hex[:8]}"
    yield chosen
    world.delete_namespace(chosen)


@pytest.fixture
def kubernetes(world: World) -> Kubernetes:
    return Kubernetes(world.config)


def app(name: str, image: str = IMAGE, **secret: str) -> Application:
    return Application(
        name=name,
        image=image,
        replicas=2,
        cpu=100,
        memory=64 * 1024 * 1024,
        host="acme.example.test",
        secret=secret or {"DATABASE_URL": "postgresql://sesame"},
    )


def finished(step: Callable[[Mapping[str, str] | None], Any]) -> Any:
    """Do as the engine does: call again with the token of the last Pending, until there is another answer."""
    token, end = None, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        outcome = step(token)
        if not isinstance(outcome, Pending):
            return outcome
        token = outcome.token
        Event().wait(0.02)
    raise AssertionError(f"still pending: {outcome.reason}")


def deployed(kubernetes: Kubernetes, application: Application, mark: Mark, call: Calls) -> Ensured:
    outcome: Ensured = finished(
        lambda token: kubernetes.deploy(application=application, mark=mark, token=token, call=call())
    )
    return outcome


def removed(kubernetes: Kubernetes, name: str, mark: Mark, call: Calls) -> Removal:
    outcome: Removal = finished(lambda token: kubernetes.remove(name=name, mark=mark, token=token, call=call()))
    return outcome


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        Event().wait(0.02)
    return found


def racing(call: Calls, at: int, act: Callable[[], object]) -> Call:
    """A call in which somebody else acts right before the write number `at`."""
    asked = 0

    def fence() -> None:
        nonlocal asked
        asked += 1
        if asked == at:
            act()

    return replace(call(), fence=fence)


def test_it_is_a_platform(world: World) -> None:
    platform: Platform = Kubernetes(world.config)

    assert platform


def test_a_deployed_application_is_there_with_all_it_needs(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    outcome = deployed(kubernetes, app(name), mark, call)

    uid = world.namespace(name)["metadata"]["uid"]
    ref = ObjectRef("kubernetes", "namespace", name, uid, "https://acme.example.test")
    assert outcome == Created(ref, {"image": IMAGE, "replicas": "2"})
    core, net = f"/api/v1/namespaces/{name}", f"/apis/networking.k8s.io/v1/namespaces/{name}"
    for path in (
        core,
        f"{core}/resourcequotas/tenant",
        f"{core}/limitranges/tenant",
        f"{core}/secrets/app-env",
        f"{core}/services/app",
        f"/apis/apps/v1/namespaces/{name}/deployments/app",
        f"{net}/networkpolicies/only-from-ingress",
        f"{net}/ingresses/app",
    ):
        assert mark.labels().items() <= world.read(path)["metadata"]["labels"].items(), path
    assert world.namespace(name)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert world.deployment(name)["status"]["availableReplicas"] == 2
    sources = world.read(f"{net}/networkpolicies/only-from-ingress")["spec"]["ingress"][0]["from"]
    assert sources[0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ingress-nginx"}
    assert world.read(f"{net}/ingresses/app")["spec"]["rules"][0]["host"] == "acme.example.test"


def test_a_rollout_is_only_looked_at_once_it_has_begun(
    kubernetes: Kubernetes, name: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    begun = kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())
    assert isinstance(begun, Pending)
    assert begun.reason.startswith(f"rollout in namespace {name}: ")
    written = fence.asked

    followed = finished(
        lambda token: kubernetes.deploy(application=app(name), mark=mark, token=token or begun.token, call=call())
    )

    assert isinstance(followed, Created)
    assert fence.asked == written == WRITES_OF_A_DEPLOY


def test_deploying_again_adopts_and_rolls_nothing_out(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    deployed(kubernetes, app(name), mark, call)
    before = world.deployment(name)["metadata"]["generation"]

    again = kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())

    assert isinstance(again, Adopted)
    assert world.deployment(name)["metadata"]["generation"] == before


def test_a_new_secret_replaces_the_old_one_and_rolls_out(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    deployed(kubernetes, app(name, OLD="1", PASSWORD="old"), mark, call)
    before = world.deployment(name)["metadata"]["generation"]

    assert isinstance(deployed(kubernetes, app(name, PASSWORD="new"), mark, call), Adopted)

    data = world.read(f"/api/v1/namespaces/{name}/secrets/app-env")["data"]
    assert data == {"PASSWORD": base64.b64encode(b"new").decode()}
    assert world.deployment(name)["metadata"]["generation"] == before + 1


def test_what_somebody_changed_by_hand_is_put_right(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    deployed(kubernetes, app(name), mark, call)
    path = f"/apis/apps/v1/namespaces/{name}/deployments/app"
    header = {"Content-Type": "application/merge-patch+json"}
    world.admin.patch(path, json={"spec": {"replicas": 1}}, headers=header).raise_for_status()

    assert isinstance(deployed(kubernetes, app(name), mark, call), Adopted)

    assert world.deployment(name)["spec"]["replicas"] == 2


def test_a_namespace_of_somebody_else_is_refused_and_not_touched(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, neighbour: Mark, call: Calls, fence: Fence
) -> None:
    world.make_namespace(name, neighbour.labels())
    before = world.namespace(name)

    with pytest.raises(ResourceAlreadyExists) as caught:
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())

    assert name in str(caught.value)
    assert neighbour.tenant_id not in str(caught.value)
    assert neighbour.tenant_key not in str(caught.value)
    assert kubernetes.remove(name=name, mark=mark, token=None, call=call()) == NotOurs(
        ObjectRef("kubernetes", "namespace", name, name)
    )
    assert kubernetes.find(name=name, mark=mark, call=call()) == []
    assert world.namespace(name) == before
    assert fence.asked == 0


def test_a_namespace_that_is_being_deleted_is_waited_for(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    world.make_namespace(name, mark.labels())
    let_go = world.hold(name)
    old = world.namespace(name)["metadata"]["uid"]
    world.delete_namespace(name)

    def wait(token: Mapping[str, str] | None) -> Ensured | Pending:
        return kubernetes.deploy(application=app(name), mark=mark, token=token, call=call())

    waiting = until(lambda: _blocked(wait(None)))
    assert f"namespace {name} is being deleted" in waiting.reason
    assert "NamespaceContentRemaining" in waiting.reason
    assert "example.com/hold" in waiting.reason
    assert fence.asked == 0
    let_go()

    outcome = finished(lambda token: wait(token or waiting.token))

    assert isinstance(outcome, Created)
    assert outcome.ref.id != old


def _blocked(outcome: object) -> Pending | None:
    """The outcome once the namespace controller has said what holds it."""
    assert isinstance(outcome, Pending)
    return outcome if "NamespaceFinalizersRemaining" in outcome.reason else None


@OF_THE_SANDBOX
def test_a_rollout_without_progress_fails_with_what_the_pods_wait_for(
    world: World, name: str, mark: Mark, call: Calls
) -> None:
    kubernetes = Kubernetes(replace(world, progress_deadline=1).config)
    image = "registry.example/does-not-exist:1"
    reasons: list[str] = []

    def step(token: Mapping[str, str] | None) -> Ensured | Pending:
        outcome = kubernetes.deploy(application=app(name, image), mark=mark, token=token, call=call())
        reasons.append(getattr(outcome, "reason", ""))
        return outcome

    with pytest.raises(Answered) as caught:
        finished(step)

    assert str(caught.value) == (
        f"Kubernetes rollout of {image} in namespace {name} makes no progress: ImagePullBackOff"
    )
    assert caught.value.way_out == f"kubectl describe pods -n {name}"
    assert reasons[-1] == f"rollout in namespace {name}: 2 of 2 pods updated, 0 available (ImagePullBackOff)"


def test_a_deployment_that_vanishes_while_it_rolls_out_is_a_failure_that_may_pass(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    begun = kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())
    assert isinstance(begun, Pending)
    world.admin.delete(f"/apis/apps/v1/namespaces/{name}/deployments/app").raise_for_status()

    with pytest.raises(Answered, match=f"no deployment of ours in namespace {name} any more"):
        kubernetes.deploy(application=app(name), mark=mark, token=begun.token, call=call())


def test_a_removed_application_leaves_nothing(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    made = deployed(kubernetes, app(name), mark, call)
    assert [ref.id for ref in kubernetes.find(name=name, mark=mark, call=call())] == [made.ref.id]

    begun = kubernetes.remove(name=name, mark=mark, token=None, call=call())
    assert isinstance(begun, Pending)
    assert f"namespace {name} is being deleted" in begun.reason
    gone = finished(lambda token: kubernetes.remove(name=name, mark=mark, token=token or begun.token, call=call()))

    assert gone == Removed(ObjectRef("kubernetes", "namespace", name, made.ref.id))
    assert world.namespace(name) is None
    assert kubernetes.find(name=name, mark=mark, call=call()) == []
    again = kubernetes.remove(name=name, mark=mark, token=None, call=call())
    assert again == NothingToRemove(ObjectRef("kubernetes", "namespace", name, name))


def test_the_neighbour_keeps_everything(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    theirs = f"{name}-neighbour"
    deployed(kubernetes, app(theirs), neighbour, call)
    before = world.namespace(theirs), world.deployment(theirs)

    deployed(kubernetes, app(name), mark, call)
    assert isinstance(removed(kubernetes, name, mark, call), Removed)

    assert (world.namespace(theirs), world.deployment(theirs)) == before
    world.delete_namespace(theirs)


def test_a_removal_that_is_held_up_names_what_holds_it(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    world.make_namespace(name, mark.labels())
    let_go = world.hold(name)

    waiting = until(lambda: _blocked(kubernetes.remove(name=name, mark=mark, token=None, call=call())))
    assert "configmaps. has 1 resource instances" in waiting.reason
    assert "example.com/hold in 1 resource instances" in waiting.reason
    assert kubernetes.find(name=name, mark=mark, call=call()) != []
    let_go()

    step = kubernetes.remove
    assert isinstance(finished(lambda t: step(name=name, mark=mark, token=t or waiting.token, call=call())), Removed)


def test_a_namespace_that_somebody_made_after_ours_had_gone_is_left_alone(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    deployed(kubernetes, app(name), mark, call)
    begun = kubernetes.remove(name=name, mark=mark, token=None, call=call())
    assert isinstance(begun, Pending)
    until(lambda: world.namespace(name) is None)
    world.make_namespace(name, neighbour.labels())

    assert isinstance(kubernetes.remove(name=name, mark=mark, token=begun.token, call=call()), Removed)

    assert world.namespace(name)["status"]["phase"] == "Active"


def test_exactly_the_namespace_that_was_looked_at_is_deleted(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    world.make_namespace(name, mark.labels())

    def swap() -> None:
        world.delete_namespace(name)
        until(lambda: world.namespace(name) is None)
        world.make_namespace(name, neighbour.labels())

    with pytest.raises(LockHeld):
        kubernetes.remove(name=name, mark=mark, token=None, call=racing(call, 1, swap))

    assert world.namespace(name)["status"]["phase"] == "Active"


def test_a_namespace_that_somebody_creates_while_we_do_is_judged_by_its_mark(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    race = racing(call, 1, lambda: world.make_namespace(name, neighbour.labels()))

    with pytest.raises(ResourceAlreadyExists):
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=race)

    assert world.deployment(name) is None


def test_a_namespace_that_begins_to_go_under_our_hands_is_waited_for(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    race = racing(call, 4, lambda: world.delete_namespace(name))

    outcome = kubernetes.deploy(application=app(name), mark=mark, token=None, call=race)

    assert isinstance(outcome, Pending)
    assert f"namespace {name} is being deleted" in outcome.reason
    again = finished(
        lambda token: kubernetes.deploy(application=app(name), mark=mark, token=token or outcome.token, call=call())
    )
    assert isinstance(again, Created)


def test_a_namespace_that_has_gone_under_our_hands_is_a_failure_that_may_pass(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    def vanish() -> None:
        world.delete_namespace(name)
        until(lambda: world.namespace(name) is None)

    with pytest.raises(Answered, match=f"lost namespace {name}"):
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=racing(call, 4, vanish))


@pytest.mark.parametrize("writes", range(WRITES_OF_A_DEPLOY))
def test_the_fence_is_asked_before_every_write_of_a_deploy(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, fence: Fence, writes: int
) -> None:
    def lower() -> None:
        fence.lowered = True

    guarded = racing(call, writes + 1, lower)
    ask = guarded.fence

    def both() -> None:
        ask()
        fence()

    with pytest.raises(FenceLowered):
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=replace(guarded, fence=both))

    assert fence.asked == writes + 1
    assert (world.namespace(name) is not None) is (writes > 0)
    assert world.read(f"/apis/networking.k8s.io/v1/namespaces/{name}/ingresses/app") is None


def test_nothing_is_removed_once_the_fence_is_lowered(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    world.make_namespace(name, mark.labels())
    fence.lowered = True

    with pytest.raises(FenceLowered):
        kubernetes.remove(name=name, mark=mark, token=None, call=call())

    assert world.namespace(name)["status"]["phase"] == "Active"


def test_nothing_is_sent_when_the_time_is_over(kubernetes: Kubernetes, name: str, mark: Mark, call: Calls) -> None:
    with pytest.raises(DeadlinePassed):
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call(seconds=-1))


GONE = "closed the connection without an answer: Connection refused (ECONNREFUSED) 127.0.0.1:"
LATE = "did not answer in time: Connection timeout (ETIMEDOUT) 127.0.0.1:"
BUSY = "is rate limiting us (HTTP 429)"
BROKEN = "is not able to answer (HTTP 500)"


@OF_THE_SANDBOX
@pytest.mark.parametrize(
    ("operation", "mode", "says"),
    [
        (NEW_NAMESPACE, "refuse", GONE),
        (NEW_NAMESPACE, "timeout_before", LATE),
        (NEW_NAMESPACE, "timeout_after", LATE),
        (NEW_NAMESPACE, "rate_limited", BUSY),
        (NEW_NAMESPACE, "server_error", BROKEN),
        (NEW_NAMESPACE, "half_done", BROKEN),
        (NEW_SECRET, "refuse", GONE),
        (NEW_SECRET, "timeout_after", LATE),
        (NEW_DEPLOYMENT, "timeout_after", LATE),
        (NEW_DEPLOYMENT, "half_done", BROKEN),
    ],
)
def test_the_attempt_after_an_outage_finishes_the_deploy(
    kubernetes: Kubernetes,
    world: World,
    name: str,
    mark: Mark,
    call: Calls,
    operation: str,
    mode: str,
    says: str,
) -> None:
    world.break_(operation, mode)
    with pytest.raises(Outage) as caught:
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call(seconds=0.25))
    assert str(caught.value).startswith(f"Kubernetes {says}")
    assert caught.value.lost is (mode != "rate_limited")
    assert caught.value.retry_after == (1.0 if mode == "rate_limited" else None)
    assert caught.value.__cause__ is not None

    outcome = deployed(kubernetes, app(name), mark, call)

    was_there = operation != NEW_NAMESPACE or mode in {"timeout_after", "half_done"}
    assert isinstance(outcome, Adopted if was_there else Created)
    assert world.deployment(name)["status"]["availableReplicas"] == 2
    assert isinstance(removed(kubernetes, name, mark, call), Removed)
    assert world.admin.get("/_sandbox/state", params={"tenant": name}).json() == {"objects": []}


@OF_THE_SANDBOX
@pytest.mark.parametrize(
    "mode", ["refuse", "timeout_before", "timeout_after", "rate_limited", "server_error", "half_done"]
)
def test_the_attempt_after_an_outage_finishes_the_removal(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, mode: str
) -> None:
    world.make_namespace(name, mark.labels())
    world.break_(DELETION, mode)
    with pytest.raises(Outage):
        kubernetes.remove(name=name, mark=mark, token=None, call=call(seconds=0.25))

    outcome = removed(kubernetes, name, mark, call)

    assert isinstance(outcome, Removed | NothingToRemove)
    assert world.namespace(name) is None


@OF_THE_SANDBOX
def test_a_late_effect_is_found_and_removed_by_a_later_look(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    world.break_(NEW_NAMESPACE, "late_effect")
    with pytest.raises(Outage) as caught:
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call(seconds=0.2))
    assert caught.value.lost
    assert isinstance(kubernetes.remove(name=name, mark=mark, token=None, call=call()), NothingToRemove)

    until(lambda: kubernetes.find(name=name, mark=mark, call=call()))

    assert isinstance(removed(kubernetes, name, mark, call), Removed)


@OF_THE_SANDBOX
@pytest.mark.parametrize("mode", ["refuse", "timeout_before", "server_error"])
def test_a_look_that_fails_has_lost_nothing(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, mode: str
) -> None:
    world.break_("GET /api/v1/namespaces/*", mode)

    with pytest.raises(Outage) as caught:
        kubernetes.find(name=name, mark=mark, call=call(seconds=0.3))

    assert not caught.value.lost


@OF_THE_SANDBOX
def test_a_401_in_between_is_a_failure_of_the_credentials(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    world.break_(NEW_SECRET, "unauthorized")

    with pytest.raises(InvalidCredentials, match="401 Unauthorized"):
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())

    assert isinstance(deployed(kubernetes, app(name), mark, call), Adopted)


def test_a_wrong_token_is_named_but_never_shown(world: World, name: str, mark: Mark, call: Calls) -> None:
    kubernetes = Kubernetes(replace(world.config, token="wrong-and-secret"))

    with pytest.raises(InvalidCredentials) as caught:
        kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())

    assert str(caught.value) == "Kubernetes does not accept our token: 401 Unauthorized"
    assert "wrong-and-secret" not in repr(caught.value) + str(caught.value.__cause__) + repr(kubernetes)
    assert "wrong-and-secret" not in repr(replace(world.config, token="wrong-and-secret"))


@OF_THE_SANDBOX
def test_a_missing_right_is_a_permanent_failure_with_the_command_that_checks_it(
    world: World, name: str, mark: Mark, call: Calls
) -> None:
    kubernetes = Kubernetes(replace(world.config, token=STRANGER))

    with pytest.raises(PermissionDenied) as caught:
        kubernetes.find(name=name, mark=mark, call=call())

    assert caught.value.way_out == f"grant the right; check with: kubectl auth can-i get namespaces -n {name}"


def test_nobody_listening_is_an_outage(name: str, mark: Mark, call: Calls) -> None:
    kubernetes = Kubernetes(KubernetesConfiguration("http://127.0.0.1:1", TOKEN))

    with pytest.raises(Outage, match=r"does not answer: Connection refused \(ECONNREFUSED\) 127\.0\.0\.1:1$"):
        kubernetes.find(name=name, mark=mark, call=call())


def test_a_url_that_leads_elsewhere_never_counts_as_removed(world: World, name: str, mark: Mark, call: Calls) -> None:
    world.make_namespace(name, mark.labels())
    # The real server asks for rights before it says that a path leads nowhere.
    kubernetes = Kubernetes(replace(world.config, url=f"{world.url}/elsewhere", token=ADMIN))

    with pytest.raises(InvalidConfiguration, match="404 Not Found"):
        kubernetes.remove(name=name, mark=mark, token=None, call=call())


@OF_THE_SANDBOX
def test_a_tls_connection_that_fails_is_a_matter_of_configuration(
    world: World, name: str, mark: Mark, call: Calls
) -> None:
    kubernetes = Kubernetes(replace(world.config, url=world.url.replace("http:", "https:")))

    with pytest.raises(InvalidConfiguration, match="the TLS connection fails"):
        kubernetes.find(name=name, mark=mark, call=call())


MARK = Mark("6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "acme")


class Odd:
    """A server with our namespace that answers every apply as it is told to."""

    answer: Callable[[Request], Response]
    allowed: bool

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/v1/namespaces/{name}", self.get),
                Route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self.review, methods=["POST"]),
                Route("/{path:path}", self.apply, methods=["PATCH"]),
            ]
        )

    async def get(self, request: Request) -> Response:
        meta = {"name": request.path_params["name"], "uid": "u", "labels": dict(MARK.labels())}
        return JSONResponse({"metadata": meta})

    async def apply(self, request: Request) -> Response:
        return self.answer(request)

    async def review(self, _: Request) -> Response:
        return JSONResponse({"metadata": {}, "status": {"allowed": self.allowed}}, status_code=201)


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[Odd, str]]:
    server = Odd()
    with running(server.app()) as port:
        yield server, f"http://127.0.0.1:{port}"


def _status(code: int, **details: Any) -> Callable[[Request], Response]:
    body = {"kind": "Status", "code": code, "message": "Invalid value: sesame", "details": details}
    return lambda _: JSONResponse(body, status_code=code)


@pytest.mark.parametrize(
    ("answer", "allowed", "kind", "says"),
    [
        (_status(403, kind="secrets"), False, PermissionDenied, "does not allow the patch of resourcequotas"),
        (_status(403, kind="secrets"), True, Answered, "though we have the right: quota or admission"),
        (_status(409), False, LockHeld, "saw a change by somebody else"),
        (_status(422, causes=[{"field": "data.KEY"}]), False, Validation, "to be invalid: data.KEY"),
        (_status(400), False, Validation, "no field is named"),
        (_status(418), False, Answered, "HTTP 418"),
        (_status(503), False, Outage, "HTTP 503"),
        (lambda _: PlainTextResponse("<html>login</html>"), False, Answered, "not one of its own"),
        (lambda _: Response(b"\xff\xfe", 502), False, Outage, "HTTP 502"),
        (lambda _: Response(status_code=302, headers={"Location": "/login"}), False, Answered, "HTTP 302"),
    ],
)
def test_every_answer_becomes_one_of_our_failures_without_quoting_the_server(
    odd: tuple[Odd, str],
    answer: Callable[[Request], Response],
    allowed: bool,
    kind: type[Failure],
    says: str,
    call: Calls,
) -> None:
    server, url = odd
    server.answer, server.allowed = answer, allowed
    kubernetes = Kubernetes(KubernetesConfiguration(url, TOKEN))

    with pytest.raises(Failure) as caught:
        kubernetes.deploy(application=app("tenant-acme"), mark=MARK, token=None, call=call())

    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert "sesame" not in str(caught.value)


def _deployment(**changes: Any) -> Deployment:
    complete = Deployment(
        labels={}, wanted=2, generation=3, observed_generation=3, replicas=2, updated=2, available=2, conditions=()
    )
    return replace(complete, **changes)


TOO_LATE = Condition("Progressing", False, "ProgressDeadlineExceeded", "")
NOT_ADMITTED = Condition("ReplicaFailure", True, "FailedCreate", "exceeded\nquota")


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (_deployment(), rollout.Complete()),
        (_deployment(wanted=0, replicas=0, updated=0, available=0), rollout.Complete()),
        (_deployment(observed_generation=2), rollout.Progressing(0, 2, 2)),
        (_deployment(replicas=3), rollout.Progressing(2, 2, 2)),
        (_deployment(updated=1), rollout.Progressing(1, 2, 2)),
        (_deployment(available=1), rollout.Progressing(2, 1, 2)),
        (_deployment(available=1, conditions=[TOO_LATE]), rollout.Stuck(None)),
        (_deployment(available=1, conditions=[TOO_LATE, NOT_ADMITTED]), rollout.Stuck("exceeded quota")),
        (_deployment(available=1, conditions=[NOT_ADMITTED]), rollout.Progressing(2, 1, 2)),
    ],
)
def test_a_rollout_is_complete_only_when_all_pods_are_new_and_available(
    deployment: Deployment, expected: rollout.Progress
) -> None:
    assert rollout.progress(deployment) == expected


def test_no_manifest_but_the_secret_holds_the_secret(mark: Mark) -> None:
    application = app("tenant-acme", PASSWORD="sesame")
    config = KubernetesConfiguration("http://127.0.0.1:1", TOKEN)

    found = [each["kind"] for each in manifests.contents(application, mark, config) if "c2VzYW1l" in str(each)]

    assert found == ["Secret"]
    assert "sesame" not in str(manifests.contents(application, mark, config)) + repr(application)


# Looking from outside of a run


def led_by_looks(kubernetes: Kubernetes, name: str, call: Calls, fence: Fence, side: Callable[..., Any]) -> Any:
    """As `finished`, but the side is only called when a look has found something to do."""
    token, end = None, time.monotonic() + PATIENCE
    while True:
        outcome = side(token)
        if not isinstance(outcome, Pending):
            return outcome
        token, asked = outcome.token, fence.asked
        while kubernetes.look(name=name, token=token, call=call()) is Look.GOES_ON:
            assert time.monotonic() < end, outcome.reason
            Event().wait(0.02)
        assert fence.asked == asked


def test_looks_lead_a_rollout_and_a_removal_to_their_ends(
    kubernetes: Kubernetes, name: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    calls: list[object] = []

    def deploy(token: Mapping[str, str] | None) -> Ensured | Pending:
        calls.append(token)
        return kubernetes.deploy(application=app(name), mark=mark, token=token, call=call())

    def remove(token: Mapping[str, str] | None) -> Removal | Pending:
        calls.append(token)
        return kubernetes.remove(name=name, mark=mark, token=token, call=call())

    assert isinstance(led_by_looks(kubernetes, name, call, fence, deploy), Created)
    assert isinstance(led_by_looks(kubernetes, name, call, fence, remove), Removed)
    assert len(calls) == 4


def test_a_look_at_a_namespace_that_is_held_up_finds_that_it_goes_on(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls, fence: Fence
) -> None:
    world.make_namespace(name, mark.labels())
    let_go = world.hold(name)
    world.delete_namespace(name)
    waiting = kubernetes.deploy(application=app(name), mark=mark, token=None, call=call())
    assert isinstance(waiting, Pending)

    assert kubernetes.look(name=name, token=waiting.token, call=call()) is Look.GOES_ON

    let_go()
    until(lambda: kubernetes.look(name=name, token=waiting.token, call=call()) is Look.MOVED)
    assert fence.asked == 0


def test_a_look_finds_that_another_namespace_has_taken_the_place_of_ours(
    kubernetes: Kubernetes, world: World, name: str, mark: Mark, call: Calls
) -> None:
    world.make_namespace(name, mark.labels())
    token = {"phase": "deleting", "uid": "of-one-that-is-gone"}

    assert kubernetes.look(name=name, token=token, call=call()) is Look.MOVED


@OF_THE_SANDBOX
def test_a_look_at_a_rollout_without_progress_leaves_it_to_the_step(
    world: World, name: str, mark: Mark, call: Calls
) -> None:
    kubernetes = Kubernetes(replace(world, progress_deadline=1).config)
    application = app(name, "registry.example/does-not-exist:1")
    begun = kubernetes.deploy(application=application, mark=mark, token=None, call=call())
    assert isinstance(begun, Pending)
    assert kubernetes.look(name=name, token=begun.token, call=call()) is Look.GOES_ON

    until(lambda: kubernetes.look(name=name, token=begun.token, call=call()) is Look.MOVED)

    with pytest.raises(Answered):
        kubernetes.deploy(application=application, mark=mark, token=begun.token, call=call())


@OF_THE_SANDBOX
def test_a_look_tells_an_outage_from_an_answer(kubernetes: Kubernetes, world: World, name: str, call: Calls) -> None:
    world.break_("GET /apis/apps/v1/namespaces/*/deployments/*", "server_error")

    with pytest.raises(Outage):
        kubernetes.look(name=name, token={"phase": "rollout"}, call=call())
