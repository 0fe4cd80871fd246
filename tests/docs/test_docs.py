"""The documentation, held to the code: links, commands, and everything that is made by `make docs`."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest
import typer.core
import typer.main

from docs import generate, settings_page, steps_table
from docs.picture import record
from docs.picture.draw import draw
from docs.picture.lanes import Event, Lane, Look, Recording, lane_of
from tenant_pipelines import settings
from tenant_pipelines.cli.main import app
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.provisioning.catalogue import PROVISIONING

ROOT = generate.ROOT
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not link.startswith("https://") and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text()):
        target = (page.parent / link) if link else page
        assert heading in set(_headings(target.read_text())), f"{link}#{heading}"


def _headings(page: str) -> Iterator[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    for words in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text())
        ahead += {(page.parent / link).resolve() for link in links if "://" not in link} - reached

    assert [page for page in PAGES if page not in reached] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z]+)`", page.read_text())}

    assert {"demo", "test", "up"} <= named <= targets


def test_the_command_line_table_names_every_command_and_no_other() -> None:
    table = README.split("## The command line")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    written = {_name(words) for cell in cells for words in re.findall(r"`([^`]+)`", cell)}

    assert written == set(_commands(typer.main.get_command(app), ()))


def _name(words: str) -> str:
    """The command in a line of usage: the words before the first argument or option."""
    return " ".join(re.findall(r"(?:^| )([a-z]+)(?= |$)", re.split(r" [A-Z\[-]", words)[0]))


def _commands(command: object, above: Sequence[str]) -> Iterator[str]:
    if not isinstance(command, typer.core.TyperGroup):
        yield " ".join(above)
        return
    for name, below in command.commands.items():
        yield from _commands(below, (*above, name))


@pytest.mark.parametrize("file", generate.files(), ids=lambda file: file.name)
def test_what_is_made_from_the_code_is_up_to_date(file: Path) -> None:
    assert file.read_text() == generate.files()[file], "run: make docs"


def test_the_steps_table_has_a_row_for_each_step() -> None:
    rows = steps_table.table(PROVISIONING).splitlines()[2:]

    assert [row.split(" | ")[1] for row in rows] == [step.name for step in PROVISIONING.steps]
    assert "| silo | infrastructure | destroyInfrastructure |" in rows[5]
    assert "point of no return" in rows[9]


def test_the_settings_page_has_every_setting_and_shows_no_secrets_value() -> None:
    page = settings_page.page()

    for name in settings.Settings.model_fields:
        if not name.startswith("retry_") or name == "retry_delays":
            assert f"`{settings.PREFIX}{name.upper()}`" in page
    assert page.count("*required*, a secret") == len(
        [field for field in settings.Settings.model_fields.values() if "Secret" in str(field.annotation)]
    )


def test_text_between_markers_is_replaced_and_nothing_else() -> None:
    page = "above\n<!-- x: begin -->\nold\n<!-- x: end -->\nbelow\n"

    assert generate.between(page, "x", "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="once each"):
        generate.between("no markers", "x", "new")


@pytest.fixture(scope="module")
def recorded() -> Sequence[Lane]:
    return [lane_of(recording, PROVISIONING.pivot.name) for recording in record.read()]


def test_the_recorded_runs_are_of_three_that_complete_and_one_that_is_rolled_back(recorded: Sequence[Lane]) -> None:
    assert [lane.word for lane in recorded] == ["completed", "completed", "completed", "failed"]
    assert [lane.left for lane in recorded] == [0, 0, 0, 0]
    taken = [step.name for step in PROVISIONING.steps if step.for_tier(Tier(recorded[2].tier))]
    assert recorded[2].steps == taken
    assert [bar.step for bar in recorded[3].undone] == list(reversed(recorded[3].steps[1:]))


def test_the_picture_has_a_bar_for_each_attempt_and_stays_inside_its_frame(recorded: Sequence[Lane]) -> None:
    picture = ElementTree.fromstring(draw(recorded))
    bars = [bar for bar in picture.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]

    assert len(bars) == sum(len(lane.bars) for lane in recorded)
    width, height = (float(picture.attrib[side]) for side in ("width", "height"))
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) < width for bar in bars)
    assert all(float(bar.attrib["y"]) + float(bar.attrib["height"]) < height for bar in bars)


def test_a_lane_shows_attempts_the_wait_and_the_way_back() -> None:
    events = [
        Event(2.0, "ActivityTaskStarted", "first"),
        Event(2.5, "ActivityTaskFailed", "first"),
        Event(3.0, "ActivityTaskStarted", "first"),
        Event(4.0, "ActivityTaskCompleted", "first"),
        Event(5.0, "CompensationStarted", "first"),
        Event(6.0, "CompensationCompleted", "first"),
        Event(6.0, "WorkflowExecutionFailed", None),
    ]
    lane = lane_of(Recording("acme", "pooled", "failed", 2, events), pivot="pivot")

    assert [(bar.look, bar.begin, bar.end) for bar in lane.bars] == [
        (Look.FAILED, 0.0, 0.5),
        (Look.DONE, 1.0, 2.0),
        (Look.UNDONE, 3.0, 4.0),
    ]
    assert "left behind: 2" in draw([lane])


def test_the_init_script_changes_no_row_of_a_database_in_use_however_often_it_runs(database: str) -> None:
    script = (ROOT / "docker" / "init-db" / "01-init-schemas.sql").read_bytes()
    with psycopg.connect(database) as connection:
        connection.execute(
            "insert into tenant_management.tenants (key, name, tier, domains)"
            " values ('acme', 'Acme', 'pooled', '{a.example}')"
        )
        connection.execute("select create_tenant_schema('acme')")
        connection.execute("drop function create_tenant_schema")
    before = _rows(database)

    for _ in range(2):
        with psycopg.connect(database) as connection:
            connection.execute(script)

    assert _rows(database) == before
    with psycopg.connect(database) as connection:
        assert connection.execute("select to_regproc('create_tenant_schema') is not null").fetchone() == (True,)


def _rows(dsn: str) -> dict[str, list[str]]:
    """Every row of every table of ours, with the transaction that wrote it."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname in ('tenant_management', 'engine', 'public', 'tenant_acme') order by 1"
        ).fetchall()
        return {
            table: sorted(str(row) for row in connection.execute(f"select xmin, * from {table}".encode()))
            for (table,) in tables
        }
