"""`purge`, and what can be seen afterwards: the exit codes, what is said, and that nothing is done without --yes."""

from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import Terminal
from tests.fakes.systems import Systems
from tests.operations.past import failed_twice_then_completed, is_gone, rows_of
from tests.operations.stage import HeardCompany, all_of, audit, dump

NOTHING_KEPT = {
    "TENANT_PIPELINES_KEEP_DAGSTER_RUNS": "0.001",
    "TENANT_PIPELINES_KEEP_EXECUTIONS": "0.001",
    "TENANT_PIPELINES_KEEP_PERSONAL_DATA": "0",
}


@pytest.fixture
def dagster_home(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An instance of Dagster's without any run."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.mark.usefixtures("dagster_home")
def test_it_counts_and_does_nothing_until_it_is_told_to(
    terminal: Terminal,
    company: HeardCompany,
    systems: Systems,
    admin: psycopg.Connection,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executions = failed_twice_then_completed(company, systems, key)
    workflow = executions[0].workflow_id
    shown = terminal("workflow", "show", workflow, "--json").document
    is_gone(admin, executions[0])
    for name, value in NOTHING_KEPT.items():
        monkeypatch.setenv(name, value)
    before = dump(admin)

    dry = terminal("purge", "--json")
    said = terminal("purge").out

    assert dump(admin) == before
    assert (dry.code, dry.document["dryRun"], dry.document["finished"], dry.document["errors"]) == (0, True, True, [])
    assert dry.document["counts"]["archived"] == 3
    assert "executions of tenants that are gone, archived" in said
    assert "Nothing was changed. To do it: tenant-pipelines purge --yes" in said

    done = terminal("purge", "--yes", "--json")

    assert (done.code, done.document["dryRun"]) == (0, False)
    assert done.document["counts"] == dry.document["counts"]
    assert [rows_of(admin, one) for one in executions] == [{}, {}, {}]
    [(by, *begun), (same, *archived)] = all_of(
        admin,
        "select performed_by, source, outcome, changes from engine.operator_actions where action = 'purge' order by id",
    )
    assert (begun, archived) == (["cli", "begun", {}], ["cli", "done", {"archived": 3}])
    assert by == same != ""
    assert "Done in" in terminal("purge", "--yes").out

    _what_is_archived_can_be_seen(terminal, workflow, [str(one.id) for one in executions], shown)
    assert audit(admin, executions[0].tenant_id)


def _what_is_archived_can_be_seen(terminal: Terminal, workflow: str, ids: list[str], before: dict[str, object]) -> None:
    shown = terminal("workflow", "show", workflow, "--json")
    assert (shown.code, shown.document.pop("archived"), before.pop("archived")) == (0, True, False)
    assert shown.document | {"archived": 0} == before | {"archived": 0}
    assert "archived: True" in terminal("workflow", "show", workflow).out
    first = terminal("workflow", "show", workflow, "--run", ids[0], "--json").document
    assert (first["id"], first["status"], first["archived"]) == (ids[0], "failed", True)
    assert first["history"]
    listed = terminal("workflow", "list", "--archived", "--json").document["data"]
    assert [item["id"] for item in listed] == list(reversed(ids))
    assert ids[0] not in terminal("workflow", "list").out
    unknown = terminal("workflow", "show", workflow, "--run", "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11")
    assert (unknown.code, "There is no workflow" in unknown.err) == (1, True)


def test_without_dagster_nothing_is_done(terminal: Terminal, admin: psycopg.Connection) -> None:
    before = dump(admin)

    said = terminal("purge", "--yes")

    assert said.code == 3
    assert "DAGSTER_HOME is not set in this shell" in said.err
    assert dump(admin) == before


@pytest.mark.usefixtures("dagster_home")
def test_settings_that_contradict_each_other_are_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANT_PIPELINES_KEEP_PERSONAL_DATA", "86400")

    said = terminal("purge", "--yes")

    assert said.code == 2
    assert "TENANT_PIPELINES_KEEP_PERSONAL_DATA: must not be shorter than keep_dagster_runs" in said.err
