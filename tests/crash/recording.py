"""Outside systems that are two tables: what is there, and what was ever done. Idempotent, as the real ones are.

`things` is what a tenant has now; `effects` has a row for each call that changed it, with the key it was made under
and the process that made it. What a call has done is committed before it answers, so that a kill in between leaves an
effect that nobody has heard of.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.clock import SystemClock
from tenant_pipelines.domain.outcomes import Adopted, Created, Ensured, NothingToRemove, ObjectRef, Removal, Removed
from tenant_pipelines.domain.ports import Applied, DatabaseAccess, StorageAccess, TenantProvisioned
from tenant_pipelines.domain.rules import Rules
from tenant_pipelines.saga.work import World

TABLES = """
create table if not exists things (tenant text, kind text, primary key (tenant, kind));
create table if not exists effects (
    id bigint generated always as identity, at timestamptz default clock_timestamp(), pid integer, tenant text,
    kind text, action text, key text
);
"""

CREATE = """
with made as (insert into things values (%(tenant)s, %(kind)s) on conflict do nothing returning kind)
insert into effects (pid, tenant, kind, action, key) select %(pid)s, %(tenant)s, kind, 'created', %(key)s from made
returning action
"""
REMOVE = """
with gone as (delete from things where tenant = %(tenant)s and kind = %(kind)s returning kind)
insert into effects (pid, tenant, kind, action, key) select %(pid)s, %(tenant)s, kind, 'removed', %(key)s from gone
returning action
"""

REMOVES = {
    "remove_organization": "organization",
    "remove_admin_user": "admin_user",
    "remove_schema": "schema",
    "remove_role": "role",
    "remove_access": "access",
    "remove_bucket": "bucket",
    "destroy": "workspace",
    "remove": "application",
    "remove_records": "records",
    "remove_resources": "resources",
}
ENSURES = {
    "ensure_organization": "organization",
    "ensure_admin_user": "admin_user",
    "ensure_schema": "schema",
    "ensure_role": "role",
    "ensure_bucket": "bucket",
    "ensure_access": "access",
    "ensure_workspace": "workspace",
    "deploy": "application",
    "ensure_customer": "customer",
    "ensure_subscription": "subscription",
}
MANY = {"admin_user", "workspace", "records", "resources"}
"""Kinds whose removal answers a list."""


class Recording:
    """Every operation of every port, told apart by its name.

    Args:
        url: of the database with the two tables.
        seconds: that each call takes, so that a kill finds it under way.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation in REMOVES:
            return lambda **given: self._remove(REMOVES[operation], **given)
        if operation in ENSURES:
            return lambda **given: self._make(ENSURES[operation], **given)
        raise AttributeError(operation)

    def apply(self, *, call: Call, mark: Mark, **_: object) -> Applied:
        """The infrastructure in its workspace."""
        return Applied(self._make("workspace", call=call, mark=mark).ref, {"load_balancer_dns": "lb.example"}, {})

    def ensure_records(self, *, call: Call, mark: Mark, **_: object) -> list[Ensured]:
        """The names."""
        return [self._make("records", call=call, mark=mark)]

    def ensure_resources(self, *, call: Call, mark: Mark, **_: object) -> list[Ensured]:
        """The resource rows."""
        return [self._make("resources", call=call, mark=mark)]

    def send(self, *, call: Call, mark: Mark, **_: object) -> Ensured:
        """One mail for each transaction id, as at Novu: another id would be another mail."""
        return self._make(f"mail {call.key}", call=call, mark=mark)

    def notify(self, *, call: Call, event: TenantProvisioned) -> Ensured:
        """One webhook for each webhook-id."""
        return self._make(f"webhook {call.key}", call=call, mark=Mark(event.tenant_id, event.tenant_key))

    def _make(self, kind: str, *, call: Call, mark: Mark, **_: object) -> Ensured:
        call.before_write()
        created = self._do(CREATE, mark.tenant_key, kind, call.key)
        ref = ObjectRef("Recorder", kind, f"{kind} of {mark.tenant_key}", f"{kind}-{mark.tenant_key}")
        return Created(ref) if created else Adopted(ref)

    def issue_access(self, *, call: Call, mark: Mark, schema: str = "", bucket: str = "") -> object:
        """A fresh credential each time: nothing that is there once."""
        call.before_write()
        if schema:
            return DatabaseAccess("127.0.0.1", 5432, "arc_saas", schema, "user", "password")
        return StorageAccess("http://127.0.0.1", "us-east-1", bucket, "access", "secret")

    def find(self, *, call: Call, mark: Mark, **_: object) -> Sequence[ObjectRef]:
        """Nothing is ever left behind here."""
        return ()

    def _remove(self, kind: str, *, call: Call, mark: Mark, **_: object) -> Removal | list[Removal]:
        call.before_write()
        gone = self._do(REMOVE, mark.tenant_key, kind, call.key)
        ref = ObjectRef("Recorder", kind, f"{kind} of {mark.tenant_key}", f"{kind}-{mark.tenant_key}")
        removal: Removal = Removed(ref) if gone else NothingToRemove(ref)
        return [removal] if kind in MANY else removal

    def _do(self, statement: str, tenant: str, kind: str, key: str) -> bool:
        values = {"pid": os.getpid(), "tenant": tenant, "kind": kind, "key": key}
        for last in (False, True):
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, autocommit=True)
                rows = self._connection.execute(statement.encode(), values).fetchall()
                self._connection.execute("select pg_sleep(%s)", (self._seconds,))
            except psycopg.OperationalError:
                self._connection = None
                if last:
                    raise
            else:
                return bool(rows)
        raise AssertionError("unreachable")


def recording_world(url: str, rules: Rules, *, seconds: float) -> World:
    """The whole world on the two tables."""
    every: Any = Recording(url, seconds)
    return World(
        identity=every,
        schemas=every,
        store=every,
        infrastructure=every,
        platforms={"kubernetes": every, "docker": every},
        dns=every,
        billing=every,
        mailer=every,
        app_plane=every,
        records=every,
        rules=rules,
        clock=SystemClock(),
    )
