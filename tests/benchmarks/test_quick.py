"""The benchmark itself, in its short form: that every part of it measures something."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.measured import figures
from sandbox.stack.folder import CHECKOUT

pytestmark = pytest.mark.slow


@pytest.mark.timeout(240)
def test_the_comparison_measures_the_product_without_anybody_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--peers",
        tmp_path / "nowhere",
        "--json",
        file,
    ]
    command += ["--section", "single", "--section", "waiting", "--section", "killed"]

    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Temporal and DBOS are left out" in done.stderr
    found = figures.read(file)
    (ours,) = found.sides
    assert 0 < ours.one.low <= ours.one.median
    assert ours.burst is not None
    assert {"workers", "postgres"} <= set(ours.burst.peak)
    assert found.waiting is not None
    assert found.waiting.processes <= found.waiting.processes_idle  # what only the start had needed has gone
    assert found.killed is not None
    assert 0 < found.killed.continued.median < found.killed.known.median
