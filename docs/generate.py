"""Writes every file that is made from the code: `python -m docs.generate` (make docs).

The tables in hand-written pages stand between `<!-- NAME: begin -->` and `<!-- NAME: end -->`; nothing else is touched.
"""

from collections.abc import Mapping
from pathlib import Path

from docs import settings_page, steps_table
from docs.measured import figures
from docs.measured.plot import plot
from docs.picture import record
from docs.picture.draw import draw
from docs.picture.lanes import lane_of
from tenant_pipelines.ledger.migrate import restoring_script
from tenant_pipelines.provisioning.catalogue import PROVISIONING

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PERFORMANCE = ROOT / "docs" / "performance.md"


def files() -> Mapping[Path, str]:
    """What each generated file has to hold."""
    measured = figures.read()
    return {
        ARCHITECTURE: between(ARCHITECTURE.read_text(), "steps", steps_table.table(PROVISIONING)),
        ROOT / "docs" / "settings.md": settings_page.page(),
        ROOT / "docs" / "run.svg": picture(),
        PERFORMANCE: between(PERFORMANCE.read_text(), "figures", figures.text(measured)),
        ROOT / "docs" / "performance.svg": plot(measured.sides, measured.defaults),
        ROOT / "docker" / "init-db" / "01-init-schemas.sql": restoring_script(),
    }


def picture() -> str:
    """The recorded runs, drawn."""
    return draw([lane_of(one, PROVISIONING.pivot.name) for one in record.read()])


def between(page: str, name: str, text: str) -> str:
    """The page with this text between the markers of that name.

    Raises: ValueError when the markers are not there, or not once.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page must have {begin.strip()} and {end} once each")
    before, rest = page.split(begin)
    return f"{before}{begin}{text}{end}{rest.split(end)[1]}"


def main() -> None:
    """Write all of them."""
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main()
