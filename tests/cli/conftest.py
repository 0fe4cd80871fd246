"""The command line as it is typed, against the database of the stage."""

import json
import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tenant_pipelines import logs
from tenant_pipelines.cli import main
from tests.operations.stage import admin, company, control_plane, key, systems
from tests.settings_values import DATABASE_PASSWORD, SECRETS, environment

__all__ = ["admin", "company", "control_plane", "key", "systems"]


class Said(NamedTuple):
    """The exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What was printed with --json."""
        return json.loads(self.out)


class Terminal:
    """Runs commands; nothing that they say may ever be a secret."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["tenant-pipelines", *arguments])
        self._monkeypatch.setenv("COLUMNS", "200")
        self._capsys.readouterr()
        code = 0
        try:
            main.run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._capsys.readouterr()
        for secret in (*SECRETS.values(), DATABASE_PASSWORD, "control-plane-of-a-test"):
            assert secret not in said.out + said.err
        assert "Traceback" not in said.err
        return Said(code, said.out, said.err)


@pytest.fixture
def terminal(
    control_plane: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Terminal:
    for name, value in environment(database_url=control_plane).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger(logs.NAME)
    monkeypatch.setattr(logger, "handlers", [])  # as in a process of its own; pytest adds none to one that propagates
    monkeypatch.setattr(logger, "propagate", True)
    return Terminal(capsys, monkeypatch)
