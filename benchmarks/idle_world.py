"""Outside systems in which nothing takes any time: what is left is the engine's own share."""

from collections.abc import Callable, Mapping
from typing import Any

from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.outcomes import Created, ObjectRef
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

    Args: answers: by operation, where it is anything but "created".
    """

    def __init__(self, answers: Mapping[str, object] | None = None) -> None:
        self._answers = dict(answers or {})

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        answer = self._answers.get(operation, Created(_THING))

        def perform(*, call: Call, **_: object) -> object:
            call.before_write()
            return answer

        return perform


def idle_world() -> World:
    """The whole of it."""
    idle: Any = Idle()
    schemas: Any = Idle({"issue_access": _DATABASE})
    store: Any = Idle({"issue_access": _STORAGE})
    infrastructure: Any = Idle({"apply": Applied(_THING, {"load_balancer_dns": "lb.example"}, {"a": "1"})})
    many: Any = Idle({"ensure_records": [Created(_THING)], "ensure_resources": [Created(_THING)]})
    return World(
        identity=idle,
        schemas=schemas,
        store=store,
        infrastructure=infrastructure,
        platforms={"kubernetes": idle},
        dns=many,
        billing=idle,
        mailer=idle,
        app_plane=idle,
        records=many,
        rules=_RULES,
        clock=SystemClock(),
    )
