"""Every statement the adapter sends. Names go in as identifiers, values as parameters or literals, never as text."""

from typing import LiteralString

from psycopg import sql

LIMITS = sql.SQL("select set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)")

SCHEMA = sql.SQL("""
    select coalesce(obj_description(n.oid, 'pg_namespace'), ''),
           (select count(*) from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p'))
      from pg_namespace n
     where n.nspname = %s
""")

ROLE = sql.SQL("select coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles where rolname = %s")

MARKED = sql.SQL("""
    select 'schema', nspname from pg_namespace where obj_description(oid, 'pg_namespace') = %(comment)s
    union all
    select 'role', rolname from pg_roles where shobj_description(oid, 'pg_authid') = %(comment)s
""")

# Schemas of ours, other than its own, that the role has been let into since; revoking USAGE closes all they hold.
STRAY_GRANTS = sql.SQL("""
    select distinct n.nspname
      from pg_namespace n, aclexplode(n.nspacl) granted, pg_roles r
     where r.oid = granted.grantee and r.rolname = %(role)s and n.nspname <> %(schema)s
       and pg_has_role(n.nspowner, 'USAGE')
""")

CREATE_SCHEMA = "select create_tenant_schema({key})"
DROP_SCHEMA = "drop schema {schema} cascade"

CREATE_ROLE = "create role {role} nologin"
MARK_ROLE = "comment on role {role} is {comment}"
LIMIT_ROLE = "alter role {role} connection limit {connections}"
SEARCH_PATH = "alter role {role} set search_path = {schema}"
GRANTS: tuple[LiteralString, ...] = (
    "grant usage on schema {schema} to {role}",
    "grant select, insert, update, delete on all tables in schema {schema} to {role}",
    "grant usage, select on all sequences in schema {schema} to {role}",
)
REVOKE_STRAY = "revoke all on schema {schema} from {role}"
ISSUE_PASSWORD = "alter role {role} login password {verifier}"  # noqa: S105

CLOSE_ROLE = "alter role {role} nologin password null"
JOIN_ROLE = "grant {role} to current_user"
"""Who is not a superuser may drop what a role owns, and end its sessions, only as a member of that role."""
END_SESSIONS = (
    "select pg_terminate_backend(pid, 1000) from pg_stat_activity where usename = {name} and pid <> pg_backend_pid()"
)
DROP_OWNED = "drop owned by {role}"
DROP_ROLE = "drop role {role}"


def filled(statement: LiteralString, *, values: dict[str, str | int] | None = None, **names: str) -> sql.Composed:
    """The statement with its names as identifiers and its values as literals, both quoted by psycopg."""
    parts: dict[str, sql.Composable] = {place: sql.Identifier(name) for place, name in names.items()}
    parts |= {place: sql.Literal(value) for place, value in (values or {}).items()}
    return sql.SQL(statement).format(**parts)
