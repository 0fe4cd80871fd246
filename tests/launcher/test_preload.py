"""What workers are copies of: loaded once, with nothing in it that a copy could not share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenant_pipelines.launcher.preload import VARIABLE, import_definitions, modules_in
from tests.launcher.pools import ROOT

CHECK = """
import gc, os, socket, stat, sys, warnings
def sockets():
    return [fd for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')
            and stat.S_ISSOCK(os.stat(int(fd)).st_mode)]
before = sockets()
from tenant_pipelines.launcher.warm import PRELOADED
assert PRELOADED.error is None, PRELOADED
assert gc.get_freeze_count() > 100_000
assert sockets() == before
threads = os.listdir('/proc/self/task')
assert len(threads) == 1, threads
assert 'tenant_pipelines.runs.storage' in sys.modules
"""
"""A thread of the original is not there in the copy, and a lock that it held is never released there."""


def test_it_is_loaded_and_frozen_with_one_thread_and_no_connection(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("storage: {of: {module: tenant_pipelines.runs.storage, class: It}}")
    environment = os.environ | {VARIABLE: "tenant_pipelines.definitions", "DAGSTER_HOME": str(tmp_path)}

    checked = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "error"),
    [
        ("tests.launcher.not_there", "ModuleNotFoundError: No module named 'tests.launcher.not_there'"),
        ("tests.launcher.pools", "LookupError: module tests.launcher.pools holds no dagster.Definitions"),
        ("tests.launcher.toys_broken", "RuntimeError: as the file says"),
        ("toys_ending", "it ends the process (SystemExit: 7)"),
    ],
)
def test_definitions_that_cannot_be_imported_are_an_answer_and_raise_nothing(
    module: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").touch()
    (tmp_path / "toys_ending.py").write_text("raise SystemExit(7)")
    monkeypatch.setenv("TOYS_FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    assert import_definitions(module).error == error


def test_definitions_that_can_be_imported_have_no_error() -> None:
    assert import_definitions("tests.launcher.toys").error is None


def test_the_modules_of_dagster_yaml_are_found_wherever_they_are_named() -> None:
    configured = {
        "storage": {"custom": {"module": "one", "class": "One"}},
        "run_launcher": {"module": "two", "config": {"module": {"module": "three"}}},
        "nothing": ["module"],
    }

    assert [*modules_in(configured)] == ["one", "two", "three"]
    assert [*modules_in(None)] == []
