"""Credentials and the files that are generated from them."""

import base64
import json
import stat
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from dagster._core.instance.config import dagster_instance_config

from sandbox.stack import credentials, generated
from sandbox.stack.folder import CHECKOUT, Folder
from sandbox.stack.ports import Ports
from tenant_pipelines import settings

SYSTEMS = {"postgres", "s3", "keycloak", "terraform", "kubernetes", "docker", "dns", "stripe", "novu", "app_plane"}


@pytest.fixture
def written(folder: Folder) -> Folder:
    generated.write_all(folder, Ports(1000), credentials.ensure(folder))
    return folder


def test_credentials_are_made_once_and_kept(folder: Folder) -> None:
    first = credentials.ensure(folder)

    assert credentials.ensure(folder) == first
    assert stat.S_IMODE(folder.credentials_json.stat().st_mode) == 0o600


def test_credentials_have_the_shape_of_the_contract(folder: Folder) -> None:
    made = credentials.ensure(folder)
    written = json.loads(folder.credentials_json.read_text())

    assert set(written) >= SYSTEMS | {"jwt"}
    assert written["postgres"] == {"user": "postgres", "password": made.postgres_password}
    assert written["jwt"] == {"secret": made.jwt_secret}
    allowed = {"user", "password", "access_key", "secret_key", "token"}
    assert all(set(fields) <= allowed for name, fields in written.items() if name != "jwt")


def test_a_credential_that_is_missing_is_added_and_the_others_are_kept(folder: Folder) -> None:
    made = credentials.ensure(folder)
    written = json.loads(folder.credentials_json.read_text())
    del written["stripe"]
    folder.credentials_json.write_text(json.dumps(written))

    again = credentials.ensure(folder)

    assert again.stripe_key != made.stripe_key
    assert again.jwt_secret == made.jwt_secret
    assert credentials.ensure(folder) == again


def test_two_stacks_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = Folder(tmp_path / "one"), Folder(tmp_path / "other")
    for each in (one, other):
        each.home.mkdir()
        each.prepare()

    assert _secrets(one).isdisjoint(_secrets(other))


def _secrets(folder: Folder) -> set[str]:
    made = credentials.ensure(folder)
    return {getattr(made, name) for name in credentials.PLACES}


def test_no_secret_shows_when_credentials_are_printed(folder: Folder) -> None:
    made = credentials.ensure(folder)

    assert not any(secret in repr(made) for secret in _secrets(folder))


def test_every_setting_of_the_product_is_there(written: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written.home)

    given = settings.load()

    assert given.rest_port == 15000
    assert given.keycloak_url == "http://127.0.0.1:9180/auth"
    assert given.log_file == written.logs / "worker.log"
    assert base64.b64decode(given.dns_key_secret.get_secret_value())


def test_everything_with_a_secret_in_it_is_ours_alone(written: Folder) -> None:
    secrets = _secrets(written)
    for file in written.local.rglob("*"):
        if file.is_file() and any(secret in file.read_text(errors="replace") for secret in secrets):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_a_shell_reads_the_environment(written: Folder) -> None:
    made = credentials.ensure(written)
    script = f". '{written.shell_env}' && echo $PGHOST $PGPORT $PGUSER $PGPASSWORD $PGDATABASE && psql --version"
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()

    assert said[0] == f"127.0.0.1 6432 postgres {made.postgres_password} arc_saas"
    assert said[1].startswith("psql (PostgreSQL) 18")


def test_dagster_takes_its_configuration(written: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = dagster_instance_config(str(written.dagster_home))

    assert config["storage"]["custom"]["config"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    assert config["run_launcher"]["class"] == "WarmRunLauncher"
    assert config["run_retries"]["enabled"] is False
    assert config["telemetry"]["enabled"] is False


@pytest.mark.parametrize("file", ["dagster_home/dagster.yaml", "deploy/kubernetes/dagster.yaml"])
def test_every_secret_in_dagster_yaml_comes_from_the_environment(file: str) -> None:
    storage = yaml.safe_load((CHECKOUT / file).read_text())["storage"]
    database = (storage.get("postgres") or storage["custom"]["config"])["postgres_db"]

    assert all(set(value) == {"env"} for name, value in database.items() if name != "scheme")


def test_the_environment_for_dagster_has_what_its_configuration_asks_for(written: Folder) -> None:
    asked: set[str] = set()

    def look(value: object) -> None:
        if isinstance(value, dict) and set(value) == {"env"}:
            asked.add(value["env"])
        elif isinstance(value, dict):
            for inside in value.values():
                look(inside)

    look(yaml.safe_load((CHECKOUT / "dagster_home" / "dagster.yaml").read_text()))

    given = generated.dagster(written, Ports(), credentials.ensure(written))
    assert asked
    assert asked <= set(given)


def test_stack_json_names_every_system_and_the_switches() -> None:
    document = generated.stack(Ports(), rest=True)

    assert set(document) == {"version", "services", "dagster", "rest", "database"}
    assert set(document["services"]) == SYSTEMS
    assert {name for name, place in document["services"].items() if "sandbox_url" in place} == {"postgres", "s3", "dns"}
    assert document["services"]["keycloak"] == {"url": "http://127.0.0.1:8180/auth"}
    assert document["database"] == {"host": "127.0.0.1", "port": 5432, "name": "arc_saas"}
    assert "rest" not in generated.stack(Ports(), rest=False)
