"""Things that somebody else has made under the names a tenant would take: they carry no mark of ours."""

from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.config
import dns.name
import dns.query
import dns.tsigkeyring
import dns.update
from psycopg import sql

from sandbox.stack.credentials import DNS_KEY
from sandbox.stack.names import ORGANIZATION, REGION
from sandbox.stack.ports import HOST
from tests.world.systems import Systems

Plant = Callable[[Systems, str], None]


def organization(systems: Systems, key: str) -> None:
    """In Keycloak, under the tenant's alias."""
    _keycloak(
        systems, "organizations", {"name": f"{key} of a stranger", "alias": key, "domains": [{"name": f"{key}.org"}]}
    )


def user(systems: Systems, key: str) -> None:
    """In Keycloak, with the administrator's e-mail."""
    email = f"admin@{key}.example"
    _keycloak(systems, "users", {"username": email, "email": email, "enabled": True})


def _keycloak(systems: Systems, what: str, body: Mapping[str, object]) -> None:
    base = systems.ports.url("keycloak", "/auth")
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
    form["password"] = systems.made.keycloak_password
    answer = systems.http.post(f"{base}/realms/master/protocol/openid-connect/token", data=form).raise_for_status()
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    systems.http.post(f"{base}/admin/realms/ananta-saas/{what}", json=body, headers=headers).raise_for_status()


def schema(systems: Systems, key: str) -> None:
    """In PostgreSQL, with a table in it."""
    name = sql.Identifier(f"tenant_{key}")
    with systems.sql() as admin:
        admin.execute(sql.SQL("create schema {}").format(name))
        admin.execute(sql.SQL("create table {}.precious as select 42 as answer").format(name))


def role(systems: Systems, key: str) -> None:
    """In PostgreSQL."""
    with systems.sql() as admin:
        admin.execute(sql.SQL("create role {} login").format(sql.Identifier(f"tenant_{key}")))


_config: Any = botocore.config.Config


def bucket(systems: Systems, key: str) -> None:
    """In S3, made by an operator, with an object in it."""
    session: Any = boto3
    s3 = session.Session().client(
        "s3",
        endpoint_url=systems.ports.url("s3_server"),
        region_name=REGION,
        aws_access_key_id=systems.made.s3_operator_access_key,
        aws_secret_access_key=systems.made.s3_operator_secret_key,
        config=_config(s3={"addressing_style": "path"}, proxies={}),
    )
    s3.create_bucket(Bucket=f"tenant-{key}")
    s3.put_object(Bucket=f"tenant-{key}", Key="precious", Body=b"42")
    s3.close()


def workspace(systems: Systems, key: str) -> None:
    """At Terraform Cloud."""
    url = systems.ports.url("terraform", f"/api/v2/organizations/{ORGANIZATION}/workspaces")
    body = {"data": {"type": "workspaces", "attributes": {"name": f"tenant-{key}"}}}
    headers = {"Authorization": f"Bearer {systems.made.terraform_token}", "Content-Type": "application/vnd.api+json"}
    systems.http.post(url, json=body, headers=headers).raise_for_status()


def namespace(systems: Systems, key: str) -> None:
    """In Kubernetes."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"tenant-{key}"}}
    headers = {"Authorization": f"Bearer {systems.made.kubernetes_operator_token}"}
    url = systems.ports.url("kubernetes", "/api/v1/namespaces")
    systems.http.post(url, json=body, headers=headers).raise_for_status()


def container(systems: Systems, key: str) -> None:
    """In Docker."""
    url = systems.ports.url("docker", f"/containers/create?name=tenant-{key}")
    systems.http.post(url, json={"Image": "tenant-application:latest"}).raise_for_status()


def record(systems: Systems, key: str) -> None:
    """In our zone, at the tenant's name."""
    keyring = dns.tsigkeyring.from_text({DNS_KEY: systems.made.dns_key_secret})
    update = dns.update.UpdateMessage("localhost", keyring=keyring, keyalgorithm="hmac-sha256")
    update.add(key, 60, "CNAME", "elsewhere.example.")
    answer = dns.query.tcp(update, HOST, port=systems.ports["dns"], timeout=10)
    assert answer.rcode() == 0


def customer(systems: Systems, key: str) -> None:
    """At Stripe, with the administrator's e-mail and no tenantId."""
    url = systems.ports.url("stripe", "/v1/customers")
    form = {"email": f"admin@{key}.example", "name": "A stranger"}
    systems.http.post(url, data=form, auth=(systems.made.stripe_key, "")).raise_for_status()
