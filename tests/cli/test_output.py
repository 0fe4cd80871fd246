"""What programs read."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tenant_pipelines.cli.output import show_json


def test_times_and_ids_are_written_as_other_programs_read_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"at": datetime(2026, 5, 1, 8, 30, tzinfo=UTC), "id": UUID(int=7)})

    read = json.loads(capsys.readouterr().out)
    assert read == {"at": "2026-05-01T08:30:00+00:00", "id": "00000000-0000-0000-0000-000000000007"}
    assert datetime.fromisoformat(read["at"]).tzinfo is not None
