"""The product's jobs with its own resources, on outside systems that answer at once: what is left is our own share.

Some tenants meet something slower: see `idle_tenants`.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster

from benchmarks.idle_tenants import HELD, HOLDING, REFUSED, SLOW
from benchmarks.idle_world import IDLE, Idle
from benchmarks.with_systems import with_systems
from resources.systems import outside_systems
from resources.world import world_of
from tenant_pipelines import settings
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.outcomes import Created, ObjectRef, Pending
from tenant_pipelines.domain.ports import Application, Applied, Look, TenantProvisioned
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.operator_ledger import OperatorLedger
from tenant_pipelines.operations.signal import CONFIRMED
from tenant_pipelines.provisioning.catalogue import PROVISIONING
from tenant_pipelines.saga.work import World

LOOK_AGAIN_AFTER = 20.0
"""Seconds; more than a worker sleeps by itself (setting wait_in_worker), so that who waits parks at once."""
RETRY_AFTER = 600.0
LONGEST_HOLD = 120.0


class IdleAppPlane:
    """Confirms at once, as the signal: the execution ends with its last step, and nobody else is needed for it."""

    def __init__(self) -> None:
        self._ledger = OperatorLedger(Database(settings.load().database_url.get_secret_value(), size=1))

    def notify(self, *, event: TenantProvisioned, call: Call) -> Created:
        """The webhook and its answer."""
        call.before_write()
        self._ledger.receive_signal(
            event.workflow_id,
            name=CONFIRMED,
            step=PROVISIONING.last.name,
            payload={"success": True},
            key=call.key,
            claimant=Claimant("benchmarks", "webhook"),
        )
        return Created(ObjectRef("app_plane", "tenant", event.tenant_key, event.tenant_key))


class IdleInfrastructure(Idle):
    """Some of it takes hours."""

    def apply(self, *, key: str, call: Call, token: Mapping[str, str] | None, **_: object) -> Applied | Pending:
        """The run, which is over at once or never."""
        call.before_write()
        if key.startswith(SLOW):
            return Pending("a run that takes hours", token or {"run": key}, LOOK_AGAIN_AFTER)
        return Applied(ObjectRef("terraform", "workspace", key, key), {"load_balancer_dns": "lb.example"}, {"a": "1"})

    def look(self, *, call: Call, **_: object) -> Look:
        """The run that is never over."""
        call.seconds_left()
        return Look.GOES_ON


class IdlePlatform(Idle):
    """Some deployments take as long as somebody wants, some are refused for now."""

    def deploy(self, *, application: Application, mark: Mark, call: Call, **_: object) -> Created:
        """The rollout."""
        call.before_write()
        if mark.tenant_key.startswith(REFUSED):
            raise Outage("Kubernetes", "429 Too Many Requests", retry_after=RETRY_AFTER)
        if mark.tenant_key.startswith(HELD):
            _hold(Path(os.environ[HOLDING]))
        return Created(ObjectRef("kubernetes", "namespace", application.name, application.name))


def _hold(file: Path) -> None:
    deadline = time.monotonic() + LONGEST_HOLD
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


class IdleSystem:
    """Stands where one of `resources.systems` does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def adapter(self) -> Any:  # noqa: ANN401 - any port's
        """As a resource of the product."""
        match self._name:
            case "app_plane":
                return IdleAppPlane()
            case "infrastructure":
                return IdleInfrastructure()
            case "kubernetes":
                return IdlePlatform()
            case name:
                return IDLE[name]


RESOURCES = {name: IdleSystem(name) for name in outside_systems()}


def job(name: str) -> dagster.JobDefinition:
    """The job with that name, bound to these resources."""
    return defs.resolve_job_def(name)


defs = with_systems(RESOURCES)


def world(given: settings.Settings, database: Database) -> World:
    """For whoever looks at outside systems beside the runs."""
    return world_of(given, database, RESOURCES)
