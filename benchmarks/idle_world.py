"""Outside systems in which nothing takes any time: what is left is the engine's own share."""

from collections.abc import Callable, Mapping
from typing import Any

from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.outcomes import Created, NothingToRemove, ObjectRef
from tenant_pipelines.domain.ports import Applied, DatabaseAccess, StorageAccess
from tenant_pipelines.domain.rules import Limits, Rules
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.saga.work import World

_THING = ObjectRef("idle", "thing", "thing", "thing")
_DATABASE = DatabaseAccess("127.0.0.1", 5432, "arc_saas", "schema", "user", "password")
_STORAGE = StorageAccess("http://127.0.0.1", "us-east-1", "bucket", "access", "secret")
_RULES = Rules(
    limits={tier: Limits(1024, 1, 100, 1024) for tier in Tier},
    bucket_prefix="tenant-",
    deployment_target="kubernetes",
    application_image="application:1",
    application_url="https://{host}",
    admin_portal_url="https://{host}/admin",
    welcome_template="tenant-welcome",
    app_plane_wait=300,
)


class Idle:
    """Answers every operation of a port at once; asks the fence first, as one write outside does.

    Args: answers: by operation, where it is anything but "created", or "there was nothing" of what removes.
    """

    def __init__(self, answers: Mapping[str, object] | None = None) -> None:
        self._answers = dict(answers or {})

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        answer = self._answers.get(operation, _answer(operation))

        def perform(*, call: Call, **_: object) -> object:
            call.before_write()
            return answer

        return perform


def _answer(operation: str) -> object:
    if operation.startswith("find"):
        return []
    gone = NothingToRemove(_THING)
    if operation in {"destroy", "remove_admin_user", "remove_records", "remove_resources"}:
        return [gone]
    return gone if operation.startswith("remove") else Created(_THING)


IDLE: Mapping[str, Any] = {
    "identity": Idle(),
    "schemas": Idle({"issue_access": _DATABASE}),
    "store": Idle({"issue_access": _STORAGE}),
    "infrastructure": Idle({"apply": Applied(_THING, {"load_balancer_dns": "lb.example"}, {"a": "1"})}),
    "kubernetes": Idle(),
    "docker": Idle(),
    "dns": Idle({"ensure_records": [Created(_THING)]}),
    "billing": Idle(),
    "mailer": Idle(),
    "app_plane": Idle(),
}
"""By the names of the product's resources."""


def idle_world() -> World:
    """The whole of it."""
    records: Any = Idle({"ensure_resources": [Created(_THING)]})
    return World(
        identity=IDLE["identity"],
        schemas=IDLE["schemas"],
        store=IDLE["store"],
        infrastructure=IDLE["infrastructure"],
        platforms={name: IDLE[name] for name in ("kubernetes", "docker")},
        dns=IDLE["dns"],
        billing=IDLE["billing"],
        mailer=IDLE["mailer"],
        app_plane=IDLE["app_plane"],
        records=records,
        rules=_RULES,
        clock=SystemClock(),
    )
