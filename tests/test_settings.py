"""Settings: all that is wrong in one message, and no value shown."""

import pytest

from tenant_pipelines import settings
from tenant_pipelines.domain.retries import RETRIES
from tenant_pipelines.launcher.options import Options
from tenant_pipelines.saga.engine import WAIT_IN_WORKER


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


def test_the_queues_limit_is_one_number_whatever_else_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert settings.queue_limit() == settings.Settings.model_fields["worker_queue_limit"].default

    monkeypatch.setenv("TENANT_PIPELINES_WORKER_QUEUE_LIMIT", "7")
    assert settings.queue_limit() == 7

    monkeypatch.setenv("TENANT_PIPELINES_WORKER_QUEUE_LIMIT", "0")
    with pytest.raises(settings.InvalidSettings, match="TENANT_PIPELINES_WORKER_QUEUE_LIMIT"):
        settings.queue_limit()


def test_what_stands_in_the_code_for_a_setting_is_its_default() -> None:
    fields = settings.Settings.model_fields
    made = Options(url="")

    assert fields["wait_in_worker"].default == WAIT_IN_WORKER
    assert (made.size, made.max_runs, made.max_memory, made.silence, made.kill_after, made.drain) == tuple(
        fields[name].default
        for name in (
            "workers",
            "worker_max_runs",
            "worker_max_memory",
            "worker_silence",
            "worker_kill_after",
            "worker_drain",
        )
    )
