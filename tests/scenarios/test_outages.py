"""The database or another system is away for a while: the run waits, and goes on."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.stack.programs import POSTGRES
from tenant_pipelines.domain.tenant import Status
from tests.scenarios.matrix import assert_rolled_back
from tests.world.steps import once
from tests.world.systems import DOWN, Systems, until
from tests.world.world import World


class Back:
    """Something that happens in a moment, in another thread; `joined` waits for it and tells how it went."""

    def __init__(self, happen: Callable[[], None], *, seconds: float = 1.0) -> None:
        self._happen = happen
        self._timer = threading.Timer(seconds, self._run)
        self._error: BaseException | None = None

    def __call__(self) -> None:
        self._timer.start()

    def _run(self) -> None:
        try:
            self._happen()
        except BaseException as error:
            self._error = error

    def joined(self) -> None:
        self._timer.join(timeout=30)
        assert self._error is None, self._error


@pytest.fixture(autouse=True)
def quick(world: World) -> None:
    world.plan = "free"
    world.deploy_to("docker")


def database_away(systems: Systems) -> Back:
    """The server stops now, and starts again when the answer is called."""
    systems.stop(POSTGRES)
    return Back(lambda: systems.start(POSTGRES))


def test_a_database_that_is_away_at_the_start_is_waited_for(world: World) -> None:
    tenant = world.create(world.key, plan=world.plan)
    back = database_away(world.systems)
    back()

    execution = world.start(tenant.id)

    back.joined()
    assert execution.waiting_until is not None
    assert world.the_tenant.status is Status.ACTIVE


@pytest.mark.parametrize("name", ["provisioning_database", "provisioning_storage", "activating_tenant"])
def test_a_database_that_goes_away_in_mid_run_is_waited_for(world: World, name: str) -> None:
    gone: list[Back] = []

    def go() -> None:
        gone.append(database_away(world.systems))
        gone[0]()

    world.when(name, before=once(go))

    execution = world.run()

    gone[0].joined()
    assert execution.waiting_until is not None, execution.error
    assert world.the_tenant.status is Status.ACTIVE
    assert world.refused == []


def test_a_database_whose_connections_are_cut_is_connected_to_again(world: World) -> None:
    world.when("provisioning_storage", after=once(lambda: world.systems.restart_part("postgres")))

    execution = world.run()

    assert execution.waiting_until is not None, execution.error
    assert world.refused == []


def test_a_database_that_goes_away_in_a_rollback_is_waited_for(world: World) -> None:
    world.break_("provisioning_storage", "s3", "CreateBucket", "server_error")
    gone: list[Back] = []

    def go() -> None:
        gone.append(database_away(world.systems))
        gone[0]()

    world.before_undo("creating_admin_user", once(go))

    execution = world.run()

    gone[0].joined()
    assert_rolled_back(world, execution, step="provisioning_storage", says="S3")


@pytest.mark.parametrize("system", ["keycloak", "s3", "docker"])
def test_a_system_that_is_away_is_waited_for(world: World, system: str) -> None:
    step = {
        "keycloak": "creating_admin_user",
        "s3": "provisioning_storage",
        "docker": "deploying_application",
    }[system]

    def tries() -> list[dict[str, Any]]:
        """The attempts that failed."""
        return [e for e in world.desk.ledger.history(world.newest.id) if e["type"] == "ActivityTaskFailed"]

    def mend() -> None:
        until(lambda: len(tries()) > 1, "two attempts that failed")
        world.systems.mend(system)

    back = Back(mend)

    def go() -> None:
        world.systems.break_(system, "*", "refuse", times=10 * DOWN)
        back()

    world.when(step, before=once(go))

    execution = world.run()

    back.joined()
    assert execution.waiting_until is not None, execution.error
    assert all("ECONNREFUSED" in attempt["details"]["error"] for attempt in tries())
    assert len(world.systems.things_of(world.key, system)) > 0
