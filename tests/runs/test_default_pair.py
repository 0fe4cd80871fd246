"""DefaultRunLauncher with QueuedRunCoordinator, as the end of dagster_home/dagster.yaml has them: really carried out.

Code server, daemon and a client are processes of their own, over a PostgreSQL of their own; outside systems are idle.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]

from benchmarks.contenders import lab as laboratory
from benchmarks.contenders.lab import Lab
from benchmarks.contenders.ours import A_RUN_EACH, Ours
from benchmarks.contenders.team import Team
from benchmarks.idle_tenants import HELD
from tenant_pipelines.runs.pairs import SUPPORTED
from tests.launcher.pools import ROOT, until

_psutil: Any = psutil  # untyped
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILE = (ROOT / "dagster_home" / "dagster.yaml").read_text()


def written() -> Mapping[str, Any]:
    """What whoever changes over puts in the place of the sections of the same names."""
    end = FILE[FILE.index("# Without the pool") :]
    block = end[end.index("# run_coordinator:") :]
    sections: Mapping[str, Any] = yaml.safe_load(re.sub(r"^# ?", "", block, flags=re.MULTILINE))
    return sections


@dataclass(frozen=True, slots=True)
class AsWritten(Ours):
    """The benchmark's contender, with what is written there in the place of its own pair."""

    def _instance(self) -> dict[str, Any]:
        return {**super(AsWritten, self)._instance(), **written()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory.opened(None) as opened:
        yield opened


@pytest.fixture(scope="module")
def team(lab: Lab) -> Iterator[Team]:
    with AsWritten(A_RUN_EACH.name, warm=False).at_work(lab) as at_work:
        yield at_work


def test_what_is_written_is_the_supported_pair() -> None:
    sections = written()

    assert set(sections) == {"run_coordinator", "run_launcher", "run_monitoring"}
    assert sections["run_coordinator"]["class"] in SUPPORTED[sections["run_launcher"]["class"]]
    assert sections["run_monitoring"]["max_resume_run_attempts"] == 0


def test_a_tenant_is_provisioned(team: Team) -> None:
    assert team.client.one() < 120


def test_a_run_whose_process_is_killed_is_continued_in_another_one(team: Team, lab: Lab) -> None:
    held = Ours.holding(lab)
    held.touch()
    [execution] = team.client.ask("begin", prefix=HELD, count=1)
    until(lambda: step_of(lab, execution) == "deploying_application", within=60)
    [process] = carrying_out(team)

    process.kill()

    held.unlink()
    assert team.client.ask("end", execution=execution)
    assert not process.is_running()


def step_of(lab: Lab, execution: str) -> str | None:
    with psycopg.connect(lab.server.dsn("arc_saas")) as ledger:
        found = ledger.execute("select step from engine.executions where id = %s", [execution]).fetchone()
    return found[0] if found else None


def carrying_out(team: Team) -> list[Any]:
    """The processes that the code server has started for runs."""
    started = _psutil.Process(team.parts["code server"]).children()
    return [process for process in started if "spawn_main" in " ".join(process.cmdline())]
