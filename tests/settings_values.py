"""A complete set of settings for tests: every secret obviously a fake, and so easy to look for where none may be."""

from collections.abc import Mapping

import pytest

from tenant_pipelines import settings
from tenant_pipelines.domain.retries import Group

SECRETS: Mapping[str, str] = {
    "keycloak_client_secret": "fake-secret-keycloak",
    "s3_secret_key": "fake-secret-s3",
    "terraform_token": "fake-secret-terraform",
    "kubernetes_token": "fake-secret-kubernetes",
    "dns_key_secret": "ZmFrZS1zZWNyZXQtZG5z",
    "stripe_key": "sk_test_fake_secret_stripe",
    "novu_key": "fake-secret-novu",
    "app_plane_webhook_secret": "whsec_ZmFrZS1zZWNyZXQtYXBwLXBsYW5l",
    "app_plane_signal_secret": "whsec_ZmFrZS1zZWNyZXQtc2lnbmFs",
}
DATABASE_PASSWORD = "fake-secret-database"
"""In the URLs that are used where no real database is given."""

VALUES: Mapping[str, str] = {
    "database_url": f"postgresql://control_plane:{DATABASE_PASSWORD}@127.0.0.1:1/arc_saas",
    "provisioner_database_url": f"postgresql://provisioner:{DATABASE_PASSWORD}@127.0.0.1:1/arc_saas",
    "keycloak_url": "http://127.0.0.1:1/auth",
    "s3_url": "http://127.0.0.1:1",
    "s3_access_key": "fake-access-key",
    "terraform_url": "http://127.0.0.1:1",
    "terraform_organization": "tests",
    "kubernetes_url": "http://127.0.0.1:1",
    "application_image": "registry.example/app:1",
    "dns_server": "127.0.0.1:1",
    "dns_zone": "tenants.example",
    "dns_key_name": "tests",
    "stripe_url": "http://127.0.0.1:1",
    "novu_url": "http://127.0.0.1:1",
    "app_plane_url": "http://127.0.0.1:1",
    "sweep_after": "0.1",
    "undo_retry_every": "0.05",
    **SECRETS,
}
"""Every setting that has no default, and short times. Nothing listens at the addresses."""

_QUICK = {"attempts": "2", "first_wait": "0.01", "longest_wait": "0.02", "one_attempt": "20", "all_attempts": "30"}


def environment(**changed: str) -> dict[str, str]:
    """The variables, as a process would be given them.

    Args: changed: settings that are to have another value, by their names as `database_url`.
    """
    retries = {f"retry_{group}_{name}": value for group in Group for name, value in _QUICK.items()}
    return {settings.PREFIX + name.upper(): value for name, value in {**VALUES, **retries, **changed}.items()}


@pytest.fixture
def settings_for_tests(monkeypatch: pytest.MonkeyPatch, database: str) -> settings.Settings:
    """The settings with the test's own database; they are in the environment too, for whoever loads them there."""
    for name, value in environment(database_url=database, provisioner_database_url=database).items():
        monkeypatch.setenv(name, value)
    return settings.load()
