"""The Kubernetes stand-in, held to exchanges recorded from a real API server, and to a real kubectl."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from sandbox.kubernetes import OPERATOR, PROVISIONER, KubernetesStandIn, Timing, User, kubeconfig
from sandbox.kubernetes.merging import Owners, apply
from sandbox.kubernetes.statuses import Refused
from sandbox.serving import running
from sandbox.store import Store

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "kubernetes.json").read_text())
EXCHANGES = {exchange["name"]: exchange for exchange in GOLDEN["exchanges"]}
USERS = {"operator": OPERATOR, "provisioner": PROVISIONER, "nobody": User("nobody", frozenset())}
MERGE = {"Content-Type": "application/merge-patch+json"}
APPLY = {"Content-Type": "application/apply-patch+yaml"}
Json = dict[str, Any]

DIFFERS = {"uid", "resourceVersion", "generation", "observedGeneration", "clusterIP", "clusterIPs", "gitCommit"}
"""What is another one each time, or depends on writes that were not recorded."""

OWN_WORDS = {"apply-again-unchanged", "after-rollout", "status-subresource", "force", "merge-patch", "old-resource"}
"""Exchanges whose messages hold a hash or a number of the recorded cluster."""


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def client(standin: KubernetesStandIn, token: str = "operator") -> Iterator[httpx.Client]:
    with running(standin.app()) as port, _client(port, token) as found:
        yield found


def _client(port: int, token: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=10)


@dataclass(frozen=True)
class Bench:
    """A stand-in whose clock stands still, and a client of it."""

    api: httpx.Client
    clock: Clock

    def deployment(self) -> Any:
        return self.api.get("/apis/apps/v1/namespaces/x/deployments/app").json()

    def apply(self, deployment: Json) -> httpx.Response:
        return self.api.patch(
            "/apis/apps/v1/namespaces/x/deployments/app",
            params={"fieldManager": "tester", "force": "true"},
            content=json.dumps(deployment),
            headers=APPLY,
        )

    def reason(self, kind: str) -> str | None:
        """The reason of one of the deployment's conditions."""
        found = {each["type"]: each for each in self.deployment()["status"].get("conditions", [])}
        return str(found[kind]["reason"]) if kind in found else None


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[KubernetesStandIn, int, Clock]]:
    clock = Clock()
    standin = KubernetesStandIn(users=USERS, clock=clock)
    with running(standin.app()) as port:
        yield standin, port, clock


@pytest.fixture
def bench(server: tuple[KubernetesStandIn, int, Clock]) -> Iterator[Bench]:
    """With an empty namespace `x`."""
    _, port, clock = server
    with _client(port, "operator") as api:
        api.post("/api/v1/namespaces", json={"metadata": {"name": "x"}}).raise_for_status()
        yield Bench(api, clock)
        api.delete("/api/v1/namespaces/x")
        clock.now += 10
        assert api.get("/api/v1/namespaces/x").status_code == 404


def recorded(image: str = "registry.local/app:1", **spec: Any) -> Json:
    """The deployment of the recording, changed a little."""
    body: Json = json.loads(json.dumps(EXCHANGES["deployment-apply-creates"]["request"]))
    body["spec"] |= spec
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return body


def _comparable(value: Any) -> Any:
    """Without what differs from time to time; conditions in the order of their types."""
    if isinstance(value, dict):
        return {
            key: "a time" if key.endswith(("Time", "Timestamp", "startedAt")) and inner else _comparable(inner)
            for key, inner in value.items()
            if key not in DIFFERS
        }
    if isinstance(value, list):
        found = [_comparable(item) for item in value]
        typed = all(isinstance(item, dict) and "type" in item and "reason" in item for item in found)
        return sorted(found, key=lambda item: item["type"]) if typed else found
    return value


def _token(name: str) -> str:
    return "wrong" if name.startswith("unauthorized") else "nobody" if name.startswith("forbidden") else "operator"


def _replay(api: httpx.Client, exchange: Json) -> tuple[httpx.Response, Any]:
    headers = {
        "Authorization": f"Bearer {_token(exchange['name'])}",
        "Content-Type": exchange.get("content_type", "application/json"),
    }
    body = json.dumps(exchange["request"]) if "request" in exchange else None
    response = api.request(exchange["method"], exchange["path"], content=body, headers=headers)
    lines = [json.loads(line) for line in response.text.splitlines()]
    return response, lines if isinstance(exchange["response"], list) else lines[0]


def _unrecorded(api: httpx.Client, name: str) -> None:
    """What was done between two recorded exchanges."""
    held = "/api/v1/namespaces/t-acme-prod/configmaps"
    match name:
        case "merge-patch-image":
            note = {"metadata": {"annotations": {"a": "b"}}}
            path = "/apis/apps/v1/namespaces/t-acme-prod/deployments/app"
            api.patch(path, json=note, headers=MERGE).raise_for_status()
        case "namespace-delete-foreground":
            body = {"metadata": {"name": "hold", "finalizers": ["example.com/hold"]}}
            api.post(held, json=body).raise_for_status()
        case "namespace-get-terminating-conditions":
            _until(lambda: "conditions" in api.get("/api/v1/namespaces/t-acme-prod").json()["status"])
        case "namespace-get-404":
            api.patch(f"{held}/hold", json={"metadata": {"finalizers": None}}, headers=MERGE).raise_for_status()
            _until(lambda: api.get("/api/v1/namespaces/t-acme-prod").status_code == 404)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        Event().wait(0.01)


def test_it_answers_every_recorded_exchange_as_the_real_server_did() -> None:
    with client(KubernetesStandIn(users=USERS, timing=Timing(rollout=0.0, deletion=0.1))) as api:
        for exchange in GOLDEN["exchanges"]:
            name = exchange["name"]
            _unrecorded(api, name)
            response, body = _replay(api, exchange)

            assert response.status_code == exchange["status"], name
            assert response.headers.get("warning") == exchange.get("warning"), name
            assert response.headers["content-type"] == "application/json", name
            wanted, found = _comparable(exchange["response"]), _comparable(body)
            if name == "list-pods-selector":
                _holds_the_same_pods(wanted, found)
            elif any(part in name for part in OWN_WORDS):
                assert _shape(found) == _shape(wanted), name
            else:
                assert found == wanted, name


def _holds_the_same_pods(wanted: Json, found: Json) -> None:
    assert found["kind"] == "PodList"
    assert len(found["items"]) == 2
    real, ours = wanted["items"][0], found["items"][0]
    assert ours["status"].keys() <= real["status"].keys()
    assert _shape(ours["status"]["containerStatuses"]) == _shape(real["status"]["containerStatuses"])
    assert ours["metadata"]["labels"].keys() == real["metadata"]["labels"].keys()
    assert ours["status"]["phase"] == "Running"


def _shape(value: Any) -> Any:
    """The value without the wording of its messages."""
    if isinstance(value, dict):
        return {key: "words" if key == "message" else _shape(inner) for key, inner in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else value


def test_a_stranger_learns_no_more_than_that_the_server_is_there(bench: Bench) -> None:
    nobody = {"Authorization": ""}
    assert [bench.api.get(path, headers=nobody).status_code for path in ("/healthz", "/readyz", "/version")] == [
        200
    ] * 3
    for path in ("/api", "/apis/apps/v1", "/api/v1/namespaces", "/nowhere"):
        answer = bench.api.get(path, headers=nobody)
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
    assert bench.api.get("/nowhere").text == "404 page not found\n"


def test_the_provisioner_may_do_what_its_role_says_and_nothing_else(bench: Bench) -> None:
    headers = {"Authorization": "Bearer provisioner"}
    allowed = {"get": ("deployments",), "create": ("secrets", "ingresses"), "patch": ("services",), "list": ("pods",)}
    denied = {"get": ("secrets",), "delete": ("deployments",), "list": ("namespaces",), "patch": ("namespaces",)}
    for rights, expected in ((allowed, True), (denied, False)):
        for verb, plurals in rights.items():
            for plural in plurals:
                group = {"deployments": "apps", "ingresses": "networking.k8s.io"}.get(plural, "")
                spec = {"resourceAttributes": {"verb": verb, "resource": plural, "group": group, "namespace": "x"}}
                path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                answer = bench.api.post(path, json={"spec": spec}, headers=headers)
                assert answer.status_code == 201
                assert answer.json()["status"]["allowed"] is expected, (verb, plural)
    assert bench.api.get("/api/v1/namespaces/x/secrets/app-env", headers=headers).status_code == 403
    assert bench.api.get("/api/v1/namespaces/x/pods", headers=headers).status_code == 200


def test_a_rollout_comes_to_its_end_and_old_pods_serve_until_then(bench: Bench) -> None:
    made = bench.apply(recorded())
    assert (made.status_code, made.json()["status"]) == (201, {})
    bench.clock.now += 0.1
    assert bench.deployment()["status"]["unavailableReplicas"] == 2
    assert bench.reason("Progressing") == "ReplicaSetUpdated"
    bench.clock.now += 1
    assert bench.reason("Progressing") == "NewReplicaSetAvailable"

    bench.apply(recorded("registry.local/app:2"))
    assert bench.deployment()["status"]["observedGeneration"] == 1
    assert bench.deployment()["metadata"]["generation"] == 2
    bench.clock.now += 0.1
    status = bench.deployment()["status"]
    assert (status["updatedReplicas"], status["replicas"], status["availableReplicas"]) == (1, 3, 2)
    bench.clock.now += 1
    pods = bench.api.get("/api/v1/namespaces/x/pods").json()["items"]
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == ["registry.local/app:2"] * 2
    assert bench.deployment()["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}


def test_scaling_keeps_the_pods_there_are(bench: Bench) -> None:
    bench.apply(recorded())
    bench.clock.now += 1
    bench.apply(recorded(replicas=3))
    bench.clock.now += 0.1
    assert bench.deployment()["status"]["availableReplicas"] == 2
    bench.clock.now += 1
    assert bench.deployment()["status"]["availableReplicas"] == 3
    assert bench.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"


def test_an_image_that_does_not_exist_never_gets_anywhere(bench: Bench) -> None:
    bench.apply(recorded("registry.local/does-not-exist:1"))
    bench.clock.now += 59
    assert bench.reason("Progressing") == "ReplicaSetUpdated"
    bench.clock.now += 2
    assert bench.reason("Progressing") == "ProgressDeadlineExceeded"
    pod = bench.api.get("/api/v1/namespaces/x/pods").json()["items"][0]
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"


@pytest.mark.parametrize(
    ("labels", "hard", "why"),
    [
        ({"pod-security.kubernetes.io/enforce": "restricted"}, {}, 'violates PodSecurity "restricted:latest"'),
        ({}, {"pods": "1"}, "exceeded quota: tenant, requested: pods=1, limited: pods=1"),
        ({}, {"limits.cpu": "4"}, "failed quota: tenant: must specify limits.cpu"),
    ],
)
def test_pods_that_are_not_admitted_fail_the_rollout(
    bench: Bench, labels: Json, hard: Mapping[str, str], why: str
) -> None:
    bench.api.patch("/api/v1/namespaces/x", json={"metadata": {"labels": labels}}, headers=MERGE).raise_for_status()
    quota = {"metadata": {"name": "tenant"}, "spec": {"hard": hard}}
    bench.api.post("/api/v1/namespaces/x/resourcequotas", json=quota).raise_for_status()
    bench.apply(recorded())
    bench.clock.now += 100
    conditions = {each["type"]: each for each in bench.deployment()["status"]["conditions"]}
    assert conditions["ReplicaFailure"]["reason"] == "FailedCreate"
    assert why in conditions["ReplicaFailure"]["message"]
    assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
    assert bench.api.get("/api/v1/namespaces/x/pods").json()["items"] == []


def test_fields_that_are_no_longer_applied_go_and_those_of_others_stay(bench: Bench) -> None:
    bench.api.patch(
        "/api/v1/namespaces/x/secrets/s",
        params={"fieldManager": "tester"},
        content=json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"A": "QQ=="}}),
        headers=APPLY,
    ).raise_for_status()
    path = "/api/v1/namespaces/x/secrets/s"
    bench.api.patch(path, json={"data": {"THEIRS": "QQ=="}}, headers=MERGE).raise_for_status()
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"B": "Qg=="}}
    bench.api.patch(path, params={"fieldManager": "tester"}, content=json.dumps(body), headers=APPLY).raise_for_status()
    assert bench.api.get(path).json()["data"] == {"B": "Qg==", "THEIRS": "QQ=="}


def test_an_item_of_a_keyed_list_goes_with_its_key() -> None:
    def deployment(*containers: str) -> Json:
        items = [{"name": each, "image": "a"} for each in containers]
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"containers": items}}

    owners = Owners()
    both = apply({"apiVersion": "apps/v1", "metadata": {"name": "d"}}, owners, deployment("a", "b"), "me", force=False)
    both["spec"]["containers"][1]["terminationMessagePath"] = "/default"

    left = apply(both, Owners(owners.as_json()), deployment("a"), "me", force=False)

    assert left["spec"]["containers"] == [{"name": "a", "image": "a"}]


def test_two_conflicts_are_both_named() -> None:
    owners = Owners()
    body = {"apiVersion": "v1", "metadata": {"labels": {"a": "1", "b": "1"}}}
    live = apply({"apiVersion": "v1", "metadata": {}}, owners, body, "one", force=False)
    with pytest.raises(Refused) as caught:
        apply(live, owners, {"metadata": {"labels": {"a": "2", "b": "2"}}}, "two", force=False)
    causes = caught.value.body["details"]["causes"]
    assert [cause["field"] for cause in causes] == [".metadata.labels.a", ".metadata.labels.b"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "code", "says"),
    [
        ("POST", "/namespaces/x/secrets", b"{}", {"Content-Type": "text/plain"}, 415, "unknown format"),
        ("POST", "/namespaces/x/secrets", b"{", {}, 400, "error decoding"),
        ("POST", "/namespaces/x/secrets", b"[]", {}, 400, "cannot unmarshal"),
        ("POST", "/namespaces/x/secrets", b'{"metadata": 1}', {}, 400, "Secret.metadata"),
        ("POST", "/namespaces", b'{"kind": "Secret", "apiVersion": "v1"}', {}, 400, "(v1.Secret) to (core.Namespace)"),
        ("POST", "/namespaces/x/secrets", b'{"metadata": {"namespace": "y"}}', {}, 400, "does not match the namespace"),
        ("POST", "/namespaces/x/secrets", b"{}", {}, 422, "name or generateName is required"),
        ("POST", "/namespaces/x/secrets?dryRun=maybe", b"{}", {}, 422, "dryRun"),
        ("POST", "/namespaces/x/secrets", b'{"metadata": {"name": "a"}, "data": {"A": "?"}}', {}, 422, "base64"),
        ("POST", "/namespaces", b'{"metadata": {"name": "a", "labels": {"a": "b c"}}}', {}, 422, "valid label"),
        ("PATCH", "/namespaces/x", b"{}", {"Content-Type": "text/plain"}, 415, "unknown format"),
        ("PUT", "/namespaces/x", b'{"metadata": {"name": "y"}}', {}, 400, "does not match the name on the URL"),
        ("PUT", "/namespaces/y", b"{}", {}, 404, 'namespaces "y" not found'),
        ("GET", "/namespaces?fieldSelector=spec.a%3Db", None, {}, 400, "field label not supported"),
        ("GET", "/namespaces?continue=nonsense", None, {}, 400, "continue key is not valid"),
        (
            "DELETE",
            "/namespaces/x",
            b'{"preconditions": {"uid": "other"}}',
            {},
            409,
            "does not match the UID in record",
        ),
        ("DELETE", "/namespaces", None, {}, 405, "does not allow this method"),
    ],
)
def test_what_the_real_server_refuses_is_refused(
    bench: Bench, method: str, path: str, body: bytes | None, headers: Mapping[str, str], code: int, says: str
) -> None:
    given = {"Content-Type": "application/json", **headers}
    answer = bench.api.request(method, f"/api/v1{path}", content=body, headers=given)
    assert (answer.status_code, answer.json()["kind"], answer.json()["code"]) == (code, "Status", code)
    assert says in answer.json()["message"]


def test_an_old_version_cannot_be_written_over_a_newer_one(bench: Bench) -> None:
    old = bench.api.get("/api/v1/namespaces/x").json()
    bench.api.patch("/api/v1/namespaces/x", json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE).raise_for_status()
    answer = bench.api.put("/api/v1/namespaces/x", json=old)
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")


def test_json_patches_are_carried_out(bench: Bench) -> None:
    operations = [
        {"op": "add", "path": "/metadata/labels/a", "value": "b"},
        {"op": "test", "path": "/metadata/labels/a", "value": "b"},
        {"op": "remove", "path": "/metadata/labels/a"},
        {"op": "add", "path": "/metadata/annotations", "value": {"note/here": "1"}},
        {"op": "replace", "path": "/metadata/annotations/note~1here", "value": "2"},
    ]
    header = {"Content-Type": "application/json-patch+json"}
    answer = bench.api.patch("/api/v1/namespaces/x", content=json.dumps(operations), headers=header)
    assert answer.json()["metadata"]["annotations"] == {"note/here": "2"}
    assert "a" not in answer.json()["metadata"]["labels"]
    wrong = [{"op": "remove", "path": "/metadata/nothing"}]
    assert bench.api.patch("/api/v1/namespaces/x", content=json.dumps(wrong), headers=header).status_code == 422


def test_lists_come_in_pages_and_by_label(bench: Bench) -> None:
    for name, tier in (("a", "1"), ("b", "2"), ("c", "1")):
        body = {"metadata": {"name": name, "labels": {"tier": tier}}}
        bench.api.post("/api/v1/namespaces/x/configmaps", json=body).raise_for_status()

    def names(**query: str) -> tuple[list[str], Json]:
        found = bench.api.get("/api/v1/namespaces/x/configmaps", params=query).json()
        return [item["metadata"]["name"] for item in found["items"]], found["metadata"]

    first, meta = names(limit="2")
    assert (first, meta["remainingItemCount"]) == (["a", "b"], 1)
    assert names(limit="2", **{"continue": meta["continue"]})[0] == ["c"]
    assert names(labelSelector="tier=1")[0] == ["a", "c"]
    assert names(labelSelector="tier!=1")[0] == ["b"]
    assert names(labelSelector="tier in (2,3)")[0] == ["b"]
    assert names(labelSelector="!tier")[0] == []
    assert names(fieldSelector="metadata.name=b")[0] == ["b"]


def test_a_watch_tells_what_happens_and_what_it_missed(bench: Bench) -> None:
    path = "/api/v1/namespaces/x/configmaps"
    since = bench.api.get(path).json()["metadata"]["resourceVersion"]
    bench.api.post(path, json={"metadata": {"name": "a"}}).raise_for_status()
    bench.api.post(path, json={"metadata": {"name": "b"}}).raise_for_status()
    bench.api.delete(f"{path}/a").raise_for_status()
    seen: list[tuple[str, str]] = []
    with bench.api.stream("GET", path, params={"watch": "1", "resourceVersion": since, "timeoutSeconds": "5"}) as lines:
        for line in lines.iter_lines():
            event = json.loads(line)
            seen.append((event["type"], event["object"]["metadata"]["name"]))
            if seen[-1] == ("ADDED", "b"):
                bench.api.patch(f"{path}/b", json={"data": {"k": "v"}}, headers=MERGE).raise_for_status()
            if seen[-1] == ("MODIFIED", "b"):
                bench.api.delete(f"{path}/b").raise_for_status()
            if seen[-1] == ("DELETED", "b"):
                break
    assert seen == [("DELETED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


def test_everything_is_there_again_after_a_restart(tmp_path: Path) -> None:
    file, clock = tmp_path / "kubernetes.sqlite", Clock()
    store = Store(file)
    with client(KubernetesStandIn(store, users=USERS, clock=clock)) as api:
        api.post("/api/v1/namespaces", json={"metadata": {"name": "x"}}).raise_for_status()
        Bench(api, clock).apply(recorded()).raise_for_status()
        api.delete("/api/v1/namespaces/x").raise_for_status()
        before = api.get("/api/v1/namespaces/x").json()
    store.close()
    store = Store(file)
    with client(KubernetesStandIn(store, users=USERS, clock=clock)) as api:
        assert api.get("/api/v1/namespaces/x").json() == before
        clock.now += 1
        assert api.get("/api/v1/namespaces/x").status_code == 404
        assert api.get("/_sandbox/state").json() == {"objects": []}
    store.close()


def test_the_state_shows_whose_things_there_are(bench: Bench) -> None:
    labels = {"managedBy": "tenant-pipelines", "tenantKey": "acme"}
    bench.api.post("/api/v1/namespaces", json={"metadata": {"name": "tenant-acme", "labels": labels}})
    secret = {"metadata": {"name": "s"}, "stringData": {"A": "neighbour"}}
    bench.api.post("/api/v1/namespaces/tenant-acme/secrets", json=secret).raise_for_status()

    def state(tenant: str) -> list[tuple[str, str, bool]]:
        found = bench.api.get("/_sandbox/state", params={"tenant": tenant}).json()["objects"]
        return sorted((each["kind"], each["name"], each["ours"]) for each in found)

    assert state("acme") == [("namespace", "tenant-acme", True), ("secret", "tenant-acme/s", False)]
    assert state("neighbour") == []
    bench.api.delete("/api/v1/namespaces/tenant-acme").raise_for_status()


KUBECTL = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on the PATH")


@pytest.fixture
def kubectl(server: tuple[KubernetesStandIn, int, Clock], tmp_path: Path) -> Callable[..., str]:
    """A real kubectl that talks to the stand-in; answers what it prints."""
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig(f"http://127.0.0.1:{server[1]}", "operator"))

    def run(*arguments: str) -> str:
        environment = os.environ | {"KUBECONFIG": str(config), "HOME": str(tmp_path)}
        done = subprocess.run(
            ["kubectl", *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout + done.stderr

    return run


@KUBECTL
def test_kubectl_shows_deployments(bench: Bench, kubectl: Callable[..., str]) -> None:
    bench.apply(recorded())
    bench.clock.now += 10
    heading, row = kubectl("get", "deployments", "-n", "x").splitlines()
    assert heading.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split() == ["app", "2/2", "2", "2", "10s"]
    assert "No resources found in tenant-nobody namespace" in kubectl("get", "deployments", "-n", "tenant-nobody")
    assert kubectl("get", "pods", "-n", "x").count("1/1") == 2
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/app", "-n", "x")
    assert "NewReplicaSetAvailable" in kubectl("describe", "deployment", "app", "-n", "x")


@KUBECTL
def test_kubectl_deletes_a_namespace_by_force(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    with running(KubernetesStandIn(users=USERS).app()) as port, _client(port, "operator") as api:
        config.write_text(kubeconfig(f"http://127.0.0.1:{port}", "operator"))
        api.post("/api/v1/namespaces", json={"metadata": {"name": "tenant-x"}}).raise_for_status()
        done = subprocess.run(
            ["kubectl", "delete", "namespace", "tenant-x", "--grace-period=0", "--force"],
            env=os.environ | {"KUBECONFIG": str(config), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, 'namespace "tenant-x" force deleted\n')
        _until(lambda: api.get("/api/v1/namespaces/tenant-x").status_code == 404)


@KUBECTL
def test_kubectl_applies_a_file_on_the_servers_side(bench: Bench, kubectl: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    file.write_text(json.dumps(recorded()))
    arguments = ("apply", "--server-side", "--validate=false", "-n", "x", "-f", str(file))
    assert kubectl(*arguments) == "deployment.apps/app serverside-applied\n"
    assert bench.deployment()["spec"]["replicas"] == 2
