"""The real pool on a real Dagster instance (SQLite) and a real ledger, with the toys as definitions."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.launches import Launches, LaunchState
from tenant_pipelines.runs import making
from tests.launcher import toys
from tests.launcher.pools import PoolProcess, until
from tests.launcher.warm_stage import IMMEDIATE, WARM
from tests.operations.stage import control_plane
from tests.settings_values import environment

__all__ = ["control_plane", "real"]


class RealStage:
    """Folder, ledger, instance, and pools for them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.environment = {
            **os.environ,
            **environment(database_url=url, provisioner_database_url=url),
            "DAGSTER_HOME": str(folder),
            "TOYS_FOLDER": str(folder),
        }
        database = Database(url, patience=5)
        self.launches = Launches(database)
        self.close = database.close
        configured = {"telemetry": {"enabled": False}, "run_coordinator": IMMEDIATE, "run_launcher": WARM}
        (folder / "dagster.yaml").write_text(json.dumps(configured))  # which is YAML
        self.instance = DagsterInstance.from_config(str(folder))
        assert self.instance.run_launcher  # takes its URL from the environment, which each test is cleared of

    def pool(self, *arguments: str, definitions: str = "tests.launcher.toys") -> PoolProcess:
        """What `python -m tenant_pipelines.launcher` starts."""
        return PoolProcess(self.command(*arguments, "--definitions", definitions), self.environment)

    def command(self, *arguments: str) -> Sequence[str]:
        return [sys.executable, "-m", "tenant_pipelines.launcher", *arguments]

    def launch(self, job: str) -> DagsterRun:
        """As the launch button does."""
        definition = toys.defs.resolve_job_def(job)
        run = self.instance.create_run_for_job(
            definition, remote_job_origin=making._remote_origin(job), job_code_origin=making._code_origin(job)
        )
        return self.instance.submit_run(run.run_id, None)  # type: ignore[arg-type]  # the coordinator does not ask

    def status(self, run: DagsterRun) -> DagsterRunStatus:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status

    def ended(self, run: DagsterRun) -> DagsterRunStatus:
        """Wait until the run has ended, and its worker knows."""
        until(lambda: (row := self.launches.of(UUID(run.run_id))) and row.state is LaunchState.ENDED, within=30)
        return self.status(run)

    def begun(self, run: DagsterRun) -> int:
        """Wait until the gated run is in its op; answers the worker's pid."""
        file = self.folder / f"begun-{run.run_id}"
        until(lambda: file.exists() and file.read_text(), what=lambda: f"{run.run_id} is begun")
        return int(file.read_text())

    def open(self, run: DagsterRun) -> None:
        (self.folder / run.run_id).touch()

    def said(self, run: DagsterRun) -> str:
        return json.dumps([event.message for event in self.instance.all_logs(run.run_id)])


@pytest.fixture(scope="module")
def real(control_plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStage]:
    """One for the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENANT_PIPELINES_DATABASE_URL", control_plane)
        stage = RealStage(control_plane, tmp_path_factory.mktemp("dagster"))
    yield stage
    stage.instance.dispose()
    stage.close()
