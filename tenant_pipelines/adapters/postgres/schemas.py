"""The adapter itself: ensure and remove a tenant's schema and role, each change in one transaction."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tenant_pipelines.adapters.postgres import statements
from tenant_pipelines.adapters.postgres.refusal import Target
from tenant_pipelines.adapters.postgres.session import SYSTEM, Session, session
from tenant_pipelines.adapters.postgres.statements import filled
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Failure,
    InvalidConfiguration,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import DatabaseAccess

RESTORE = "psql -U postgres -d arc_saas -f docker/init-db/01-init-schemas.sql"


@dataclass(frozen=True, slots=True)
class PostgresConfig:
    """Where tenants' schemas are made, and how their applications get there.

    Args:
        conninfo: libpq conninfo or URL of the provisioning role, password included.
        public_host: the host under which tenants' applications reach the same server.
        public_port: the port there.
        connections_per_tenant: how many sessions a tenant's role may have at once.
    """

    conninfo: str = field(repr=False)
    public_host: str
    public_port: int
    connections_per_tenant: int = 20


class Postgres:
    """PostgreSQL as a `SchemaStore`. The mark is the comment on the schema and on the role.

    A tenant's role has the schema's name. It may read and write the rows of its schema's tables and nothing else: it
    makes no objects, and cannot log in before `issue_access` has given it a password.
    """

    def __init__(self, config: PostgresConfig) -> None:
        self._config = config
        try:
            self._target = Target.of(conninfo_to_dict(config.conninfo))
        except (psycopg.ProgrammingError, ValueError):  # their text may repeat the password
            raise InvalidConfiguration(SYSTEM, "cannot be reached: the connection string is malformed") from None

    def ensure_schema(self, *, key: str, schema: str, mark: Mark, call: Call) -> Ensured:
        """Have the database's own function make the schema, or complete it; one transaction."""
        ref = _ref("schema", schema)
        with self._session(call) as session:
            before = _Schema.look(session, schema)
            if before is not None and before.comment != comment(mark):
                raise _taken(ref)
            session.write(filled(statements.CREATE_SCHEMA, values={"key": key}), known=_function_says(key, ref))
            after = _Schema.look(session, schema)
        if after is None:
            raise InvalidConfiguration(SYSTEM, f"function create_tenant_schema made no schema {schema} for {key}")
        if after.comment != comment(mark):
            raise _taken(ref)
        facts = {"tables": str(after.tables)}
        return Created(ref, facts) if before is None else Adopted(ref, facts)

    def ensure_role(self, *, schema: str, mark: Mark, call: Call) -> Ensured:
        """The role, marked and with exactly its rights; one transaction. A password it has is left to it."""
        ref = _ref("role", schema)
        with self._session(call) as session:
            _require_own_schema(session, schema, mark)
            found = _role_comment(session, schema)
            if found is not None and found != comment(mark):
                raise _taken(ref)
            rights = [*_rights(schema, self._config.connections_per_tenant), *_stray(session, schema)]
            if found is None:
                marked = filled(statements.MARK_ROLE, role=schema, values={"comment": comment(mark)})
                rights = [filled(statements.CREATE_ROLE, role=schema), marked, *rights]
            session.write(*rights)
        return Created(ref) if found is None else Adopted(ref)

    def issue_access(self, *, schema: str, mark: Mark, call: Call) -> DatabaseAccess:
        """A new random password, of which only the SCRAM verifier leaves this process; one statement."""
        password = secrets.token_urlsafe(24)
        with self._session(call) as session:
            match _role_comment(session, schema):
                case None:
                    raise ResourceNotFound(SYSTEM, f"role {schema} does not exist")
                case found if found != comment(mark):
                    raise _taken(_ref("role", schema))
            verifier = session.scrambled(password, schema)
            session.write(filled(statements.ISSUE_PASSWORD, role=schema, values={"verifier": verifier}))
            database = session.database
        host, port = self._config.public_host, self._config.public_port
        return DatabaseAccess(host, port, database, schema=schema, user=schema, password=password)

    def remove_schema(self, *, schema: str, mark: Mark, call: Call) -> Removal:
        """The schema with all its data; one transaction. Sessions that use it must have been ended before."""
        ref = _ref("schema", schema)
        with self._session(call) as session:
            found = _Schema.look(session, schema)
            if found is None:
                return NothingToRemove(ref)
            if found.comment != comment(mark):
                return NotOurs(ref)
            session.write(filled(statements.DROP_SCHEMA, schema=schema))
        return Removed(ref)

    def remove_role(self, *, schema: str, mark: Mark, call: Call) -> Removal:
        """Close the role, end its sessions, then drop it with its rights: three transactions, each may be repeated."""
        ref = _ref("role", schema)
        with self._session(call) as session:
            found = _role_comment(session, schema)
            if found is None:
                return NothingToRemove(ref)
            if found != comment(mark):
                return NotOurs(ref)
            session.write(filled(statements.CLOSE_ROLE, role=schema), filled(statements.JOIN_ROLE, role=schema))
            session.write(filled(statements.END_SESSIONS, values={"name": schema}))
            session.write(filled(statements.DROP_OWNED, role=schema), filled(statements.DROP_ROLE, role=schema))
        return Removed(ref)

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """Every schema and role with the tenant's mark, whatever it is called."""
        with self._session(call) as session:
            return [_ref(kind, name) for kind, name in session.read(statements.MARKED, {"comment": comment(mark)})]

    def _session(self, call: Call) -> AbstractContextManager[Session]:
        return session(self._config.conninfo, self._target, call)


def comment(mark: Mark) -> str:
    """The mark as the comment of a schema or role; `create_tenant_schema` writes the same text."""
    return " ".join(f"{name}={mark.labels()[name]}" for name in ("managedBy", "tenantId", "tenantKey"))


@dataclass(frozen=True, slots=True)
class _Schema:
    """A schema that is there: its comment, and how many tables it has."""

    comment: str
    tables: int

    @classmethod
    def look(cls, session: Session, name: str) -> "_Schema | None":
        return next((cls(text, tables) for text, tables in session.read(statements.SCHEMA, (name,))), None)


def _role_comment(session: Session, name: str) -> str | None:
    """The comment of the role, empty where it has none; None when there is no such role."""
    return next((str(text) for (text,) in session.read(statements.ROLE, (name,))), None)


def _require_own_schema(session: Session, name: str, mark: Mark) -> None:
    found = _Schema.look(session, name)
    if found is None:
        raise ResourceNotFound(SYSTEM, f"schema {name} does not exist")
    if found.comment != comment(mark):
        raise _taken(_ref("schema", name))


def _rights(schema: str, connections: int) -> Sequence[sql.Composed]:
    """All that the role may do, whatever it could do before."""
    return [
        filled(statements.LIMIT_ROLE, role=schema, values={"connections": connections}),
        filled(statements.SEARCH_PATH, role=schema, schema=schema),
        *(filled(grant, role=schema, schema=schema) for grant in statements.GRANTS),
    ]


def _stray(session: Session, role: str) -> Sequence[sql.Composed]:
    """What takes the role out of every other schema of ours that somebody has let it into."""
    found = session.read(statements.STRAY_GRANTS, {"role": role, "schema": role})
    return [filled(statements.REVOKE_STRAY, role=role, schema=other) for (other,) in found]


def _function_says(key: str, ref: ObjectRef) -> Mapping[str, Failure]:
    """What the error codes of create_tenant_schema mean (see ledger/sql/create_tenant_schema.sql)."""
    missing = "function create_tenant_schema does not exist"
    incomplete = "function create_tenant_schema does not find the tables of schema tenant_management"
    return {
        "42883": InvalidConfiguration(SYSTEM, missing, way_out=RESTORE),
        "42P01": InvalidConfiguration(SYSTEM, incomplete, way_out=RESTORE),
        "42P06": _taken(ref),
        "P0002": ResourceNotFound(SYSTEM, f"has no living tenant with the key {key}"),
        "22023": Validation(SYSTEM, f"refuses {key!r} as the key of a tenant"),
    }


def _taken(ref: ObjectRef) -> ResourceAlreadyExists:
    way_out = f"give the tenant another key, or remove {ref.kind} {ref.name} if nobody needs it"
    return ResourceAlreadyExists(SYSTEM, f"{ref.kind} {ref.name} exists and is not this tenant's", way_out=way_out)


def _ref(kind: str, name: str) -> ObjectRef:
    return ObjectRef("postgres", kind, name, name)
