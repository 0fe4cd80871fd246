"""K8sRunLauncher with either coordinator, as deploy/kubernetes/dagster.yaml has it: what it asks of the API server.

By default of one that only keeps Jobs. Against a real cluster: TENANT_PIPELINES_TEST_KUBERNETES_CONFIG names a
kubeconfig whose user may do in the namespace TENANT_PIPELINES_TEST_KUBERNETES_NAMESPACE (default: dagster) what the
launcher needs (docs/scaling.md).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes
import pytest
import yaml  # type: ignore[import-untyped]
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher import WorkerStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox.serving import running
from tenant_pipelines.domain.workflow import Kind
from tenant_pipelines.operations.runs import Launch
from tenant_pipelines.runs.gateway import DagsterRuns
from tests.fakes.systems import Systems
from tests.runs.stage import Stage, instance_in_memory

_kubernetes: Any = kubernetes  # untyped
FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "dagster.yaml"
REAL = os.environ.get("TENANT_PIPELINES_TEST_KUBERNETES_CONFIG")
NAMESPACE = os.environ.get("TENANT_PIPELINES_TEST_KUBERNETES_NAMESPACE", "dagster")
IMAGE = "registry.example/tenant-pipelines:1"
ENVIRONMENT = {
    "TENANT_PIPELINES_KUBERNETES_SERVICE_ACCOUNT": "tenant-pipelines",
    "TENANT_PIPELINES_KUBERNETES_NAMESPACE": NAMESPACE,
    "TENANT_PIPELINES_IMAGE": IMAGE,
}
PASSWORD = "fake-secret-of-dagster"
SHIPPED: Mapping[str, Any] = yaml.safe_load(FILE.read_text())
IMMEDIATE = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}


class KeepsJobs:
    """As much of an API server as the launcher asks for when nobody carries the Jobs out."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}

    def app(self) -> Starlette:
        jobs = "/apis/batch/v1/namespaces/{namespace}/jobs"
        return Starlette(
            routes=[
                Route(jobs, self.create, methods=["POST"]),
                Route(jobs + "/{name}", self.delete, methods=["DELETE"]),
                Route(jobs + "/{name}{status:path}", self.read),
                Route("/api/v1/namespaces/{namespace}/pods", lambda _: JSONResponse({"items": []})),
            ]
        )

    async def create(self, request: Request) -> JSONResponse:
        job = await request.json()
        if (name := job["metadata"]["name"]) in self.jobs:
            return JSONResponse({"reason": "AlreadyExists"}, 409)
        self.jobs[name] = job | {"status": {"active": 1}}
        return JSONResponse(self.jobs[name], 201)

    async def read(self, request: Request) -> JSONResponse:
        job = self.jobs.get(request.path_params["name"])
        return JSONResponse(job or {"reason": "NotFound"}, 200 if job else 404)

    async def delete(self, request: Request) -> JSONResponse:
        found = self.jobs.pop(request.path_params["name"], None)
        return JSONResponse({"status": "Success"} if found else {"reason": "NotFound"}, 200 if found else 404)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of the cluster."""
    if REAL is not None:
        yield Path(REAL)
        return
    with running(KeepsJobs().app()) as port:
        file = tmp_path_factory.mktemp("kubernetes") / "config"
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}
        whole = {"clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}]}
        file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c", **whole}))
        yield file


@pytest.fixture
def batch(kubeconfig: Path) -> Any:
    return _kubernetes.client.BatchV1Api(_kubernetes.config.new_client_from_config(str(kubeconfig)))


@contextmanager
def instance_on(kubeconfig: Path, coordinator: Mapping[str, Any]) -> Iterator[DagsterInstance]:
    """As shipped, but for storage, and for being outside of the cluster."""
    launcher = SHIPPED["run_launcher"]
    outside = {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
    configured = launcher | {"config": launcher["config"] | outside}
    with instance_in_memory({"run_launcher": configured, "run_coordinator": coordinator}) as instance:
        yield instance


@pytest.fixture
def stage(
    kubeconfig: Path, settings_for_tests: Any, systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    for name, value in {**ENVIRONMENT, "DAGSTER_POSTGRES_PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(name, value)
    with instance_on(kubeconfig, IMMEDIATE) as instance:
        made = Stage(instance, settings_for_tests, systems)
        yield made
        made.close()


def launched(stage: Stage) -> DagsterRun:
    execution = stage.start(stage.tenant(f"t{uuid4().hex[:12]}"))
    return stage.run(execution.id)


def job_of(batch: Any, run: DagsterRun) -> Any:
    return batch.read_namespaced_job_status(f"dagster-run-{run.run_id}", NAMESPACE)


def test_a_start_makes_the_job_that_is_configured_with_no_secret_in_it(stage: Stage, batch: Any) -> None:
    run = launched(stage)

    job = job_of(batch, run)
    pod = job.spec.template.spec
    [container] = pod.containers
    assert run.status is DagsterRunStatus.STARTING
    assert (container.image, container.image_pull_policy) == (IMAGE, "IfNotPresent")
    assert pod.service_account_name == "tenant-pipelines"
    assert [source.secret_ref.name for source in container.env_from] == SHIPPED["run_launcher"]["config"]["env_secrets"]
    assert container.resources.limits == {"memory": "512Mi"}
    assert {"name": "DAGSTER_HOME", "value": "/opt/dagster/dagster_home"} in [
        {"name": one.name, "value": one.value} for one in container.env
    ]
    assert container.args[:4] == ["python", "-m", "dagster", "api"]
    assert run.run_id in " ".join(container.args)
    assert (job.spec.ttl_seconds_after_finished, job.spec.backoff_limit, pod.restart_policy) == (3600, 0, "Never")
    assert PASSWORD not in str(job)
    assert "tenant_pipelines.definitions" in " ".join(container.args)


def test_the_same_launch_once_more_makes_no_second_job(stage: Stage, batch: Any) -> None:
    run = launched(stage)
    made = job_of(batch, run).metadata.uid
    execution = stage.execution(run)

    stage.runs.launch(Launch(execution.id, execution, Kind.FORWARD))

    assert job_of(batch, run).metadata.uid == made
    assert stage.run(run.run_id).status is DagsterRunStatus.STARTING


def test_health_is_the_jobs_and_terminating_removes_it(stage: Stage, batch: Any) -> None:
    run = launched(stage)
    launcher = stage.instance.run_launcher
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    stage.instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, run.job_name), run.run_id)

    assert launcher.terminate(run.run_id)

    assert stage.run(run.run_id).status in (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED)
    assert launcher.check_run_worker_health(stage.run(run.run_id)).status is WorkerStatus.UNKNOWN
    with pytest.raises(_kubernetes.client.ApiException) as gone:
        job_of(batch, run)
    assert gone.value.status == 404


def test_with_the_queue_the_run_waits_for_the_daemon(
    kubeconfig: Path,
    batch: Any,
    settings_for_tests: Any,
    systems: Systems,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with instance_on(kubeconfig, SHIPPED["run_coordinator"]) as instance:
        stage = Stage(instance, settings_for_tests, systems)
        run = launched(stage)
        assert run.status is DagsterRunStatus.QUEUED
        with pytest.raises(_kubernetes.client.ApiException):
            job_of(batch, run)

        instance.launch_run(run.run_id, None)  # type: ignore[arg-type]  # what the daemon does; the launcher does not ask

        assert job_of(batch, run).metadata.name == f"dagster-run-{run.run_id}"
        DagsterRuns(instance, stage.job)  # which checks the pair
        stage.close()
