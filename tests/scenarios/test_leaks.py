"""No secret in any row, log, or request where it does not belong: after a success, and after failures of each kind."""

import json
import sqlite3
from base64 import b64decode
from collections.abc import Mapping

import pytest

from tenant_pipelines.domain.workflow import State
from tests.world.leaks import remembered_by, shown_anywhere
from tests.world.systems import Systems
from tests.world.world import World

ALLOWED: Mapping[str, set[str]] = {}
"""What a stand-in has to know: nothing that is in its memory."""


@pytest.fixture
def lived(world: World, systems: Systems) -> World:
    """A world in which things have gone well, and wrong at every system."""
    for system, operation, mode in [
        ("keycloak", "POST /admin/realms/*/users", "server_error"),
        ("postgres", "create_tenant_schema", "server_error"),
        ("s3", "CreateBucket", "unauthorized"),
        ("terraform", "POST /api/v2/runs", "server_error"),
        ("kubernetes", "POST /api/v1/namespaces", "unauthorized"),
    ]:
        failing = World(systems, world.composed)
        step = {
            "keycloak": "creating_admin_user",
            "postgres": "provisioning_database",
            "s3": "provisioning_storage",
            "terraform": "provisioning_infrastructure",
            "kubernetes": "deploying_application",
        }[system]
        failing.break_(step, system, operation, mode)
        assert failing.run().failed_step == step
    world.run()
    assert world.confirm().state is State.COMPLETED
    return world


def issued(systems: Systems, key: str) -> dict[str, str]:
    """The credentials that were made for the tenant's application: they are in its secret."""
    store = sqlite3.connect(f"file:{systems.folder.sandbox / 'kubernetes.sqlite'}?mode=ro", uri=True)
    try:
        bodies = [json.loads(body) for (body,) in store.execute("select body from documents")]
    finally:
        store.close()
    secrets = [b for b in bodies if f"tenant-{key}" in json.dumps(b) and _find(b, "PGPASSWORD")]
    assert secrets
    return {name: b64decode(_find(secrets[0], name)).decode() for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY")}


def _find(document: object, name: str) -> str:
    if isinstance(document, dict):
        if isinstance(document.get(name), str):
            return str(document[name])
        return next((found for value in document.values() if (found := _find(value, name))), "")
    if isinstance(document, list):
        return next((found for value in document if (found := _find(value, name))), "")
    return ""


def test_nothing_is_shown(lived: World, systems: Systems) -> None:
    secrets = {**systems.secrets(), **issued(systems, lived.key)}
    assert len(secrets) > 15
    assert all(len(secret) > 12 for secret in secrets.values())

    assert shown_anywhere(systems, secrets) == {}
    remembered = remembered_by(systems, secrets)
    assert {place: names for place, names in remembered.items() if not place.startswith("kubernetes ")} == ALLOWED
    for names in remembered.values():
        assert names <= {"PGPASSWORD", "AWS_SECRET_ACCESS_KEY"}
    assert remembered, "the application's secret holds them, so the search finds what is there"


def test_the_search_finds_what_is_there(lived: World, systems: Systems) -> None:
    assert "engine.executions" in shown_anywhere(systems, {"the key": lived.key})
    assert "worker.log" in shown_anywhere(systems, {"the marker": "FLOW_ROLLBACK"})
    assert any(place.startswith("keycloak") for place in remembered_by(systems, {"the key": lived.key}))
