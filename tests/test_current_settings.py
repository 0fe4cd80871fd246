"""Settings from run to run: read once, and again as soon as anything has changed that they are read from."""

from pathlib import Path

import pytest

from resources.current_settings import CurrentSettings
from tenant_pipelines import settings
from tests.settings_values import environment

KEY = "TENANT_PIPELINES_STRIPE_KEY"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the process is: no .env there, all settings in the environment, but for the key, which is a file."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(KEY)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / KEY.lower()).write_text("first")
    monkeypatch.setenv("TENANT_PIPELINES_SECRETS_DIR", str(secrets))
    return tmp_path


def key(current: CurrentSettings) -> str:
    return current.read().stripe_key.get_secret_value()


def test_nothing_is_read_again_while_nothing_changes(folder: Path) -> None:
    current = CurrentSettings()

    assert current.read() is current.read()


def test_a_secret_that_was_written_anew_is_seen(folder: Path) -> None:
    current = CurrentSettings()
    assert key(current) == "first"

    (folder / "secrets" / KEY.lower()).write_text("second")

    assert key(current) == "second"


def test_a_secret_behind_a_link_that_was_exchanged_is_seen(folder: Path) -> None:
    """As Kubernetes replaces what it mounts."""
    secrets = folder / "secrets"
    (secrets / KEY.lower()).unlink()
    for version in ("first", "other"):
        (secrets / f"..{version}").mkdir()
        (secrets / f"..{version}" / KEY.lower()).write_text(version)
    (secrets / "..data").symlink_to("..first")
    (secrets / KEY.lower()).symlink_to(Path("..data") / KEY.lower())
    current = CurrentSettings()
    assert key(current) == "first"

    (secrets / "..new").symlink_to("..other")
    (secrets / "..new").rename(secrets / "..data")

    assert key(current) == "other"


def test_the_environment_and_a_new_file_are_seen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = CurrentSettings()
    assert key(current) == "first"

    (folder / ".env").write_text(f"{KEY}=from .env\n")
    assert key(current) == "from .env"

    monkeypatch.setenv(KEY, "from the environment")
    assert key(current) == "from the environment"


def test_what_is_wrong_is_said_each_time_until_it_is_mended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    current = CurrentSettings()
    current.read()
    monkeypatch.setenv("TENANT_PIPELINES_SWEEP_AFTER", "-1")

    for _ in range(2):
        with pytest.raises(settings.InvalidSettings):
            current.read()

    monkeypatch.setenv("TENANT_PIPELINES_SWEEP_AFTER", "1")
    assert current.read().sweep_after == 1
