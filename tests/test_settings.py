"""Settings: all that is wrong in one message, and no value shown."""

import pytest

from tenant_pipelines import settings
from tenant_pipelines.domain.retries import RETRIES


def test_every_missing_and_invalid_setting_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.setenv("TENANT_PIPELINES_DATABASE_URL", "mysql://root:hunter2@db")
    monkeypatch.setenv("TENANT_PIPELINES_SWEEP_AFTER", "-1")

    with pytest.raises(settings.InvalidSettings) as refused:
        settings.load()

    message = str(refused.value)
    assert "TENANT_PIPELINES_DATABASE_URL: must begin with postgresql://" in message
    assert "TENANT_PIPELINES_SWEEP_AFTER" in message
    assert "TENANT_PIPELINES_STRIPE_KEY: missing" in message
    assert "hunter2" not in message


def test_the_retry_table_is_the_contracts_unless_set() -> None:
    fields = settings.Settings.model_fields
    for group, policy in RETRIES.items():
        assert fields[f"retry_{group}_all_attempts"].default == policy.all_attempts
