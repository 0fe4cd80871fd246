"""What each system says about a tenant when it is asked directly: in its own protocol, with the operator's credentials.

Nothing of the product takes part in it. Every proof answers a few words for people, or raises Wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
import dns.exception
import dns.resolver
import httpx
import psycopg
from botocore import config

from sandbox.postgres import Server
from sandbox.stack.credentials import Credentials
from sandbox.stack.names import ORGANIZATION, PRODUCT, REGION
from sandbox.stack.ports import HOST, Ports
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Tenant

_boto3: Any = boto3
_config: Any = config

REALM = "ananta-saas"
PATIENCE = 10.0

Found = Sequence[ObjectRef]


class Wrong(Exception):
    """A system says something else than it should."""


class Proofs:
    """Asks the systems of one stack."""

    def __init__(self, around: Ports, made: Credentials) -> None:
        self._around = around
        self._made = made
        self._client = httpx.Client(timeout=PATIENCE, trust_env=False)

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def ask(self, system: str, tenant: Tenant, found: Found) -> str:
        """Ask one system about the tenant.

        Raises: Wrong; what the client of that system raises when there is no answer.
        """
        questions: Mapping[str, Callable[[Tenant, Found], str]] = {
            "keycloak": self._members,
            "postgres": self._tables,
            "s3": self._bucket,
            "terraform": self._run,
            "kubernetes": self._replicas,
            "dns": self._answer,
            "stripe": self._subscription,
        }
        return questions[system](tenant, found)

    def _members(self, tenant: Tenant, found: Found) -> str:
        """Keycloak: who belongs to the organization."""
        base = self._around.url("keycloak", "/auth")
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
        login = f"{base}/realms/master/protocol/openid-connect/token"
        token = self._client.post(login, data=form | {"password": self._made.keycloak_password}).raise_for_status()
        organization = _one(found, "organization").id
        people = self._get(
            f"{base}/admin/realms/{REALM}/organizations/{organization}/members",
            Authorization=f"Bearer {token.json()['access_token']}",
        )
        emails = [person["email"] for person in people]
        wanted = [tenant.admin.email] if tenant.admin else []
        return _expected(emails == wanted, f"member {', '.join(emails) or 'nobody'}")

    def _tables(self, _: Tenant, found: Found) -> str:
        """PostgreSQL: what is in the schema."""
        server = Server(HOST, self._around["postgres"], self._made.postgres_password)
        with psycopg.connect(server.dsn(PRODUCT), connect_timeout=int(PATIENCE)) as connection:
            schema = _one(found, "schema").name
            query = "select count(*) from information_schema.tables where table_schema = %s"
            row = connection.execute(query, [schema]).fetchone()
        count = row[0] if row else 0
        return _expected(count > 0, f"{count} tables")

    def _bucket(self, _: Tenant, found: Found) -> str:
        """S3: whether the bucket keeps versions and encrypts."""
        name = _one(found, "bucket").name
        client = _boto3.client(
            "s3",
            endpoint_url=self._around.url("s3"),
            region_name=REGION,
            aws_access_key_id=self._made.s3_operator_access_key,
            aws_secret_access_key=self._made.s3_operator_secret_key,
            config=_config.Config(
                connect_timeout=PATIENCE, read_timeout=PATIENCE, proxies={}, s3={"addressing_style": "path"}
            ),
        )
        versions = client.get_bucket_versioning(Bucket=name).get("Status", "off")
        encryption = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
        algorithm = encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
        return _expected(versions == "Enabled", f"versioning {versions.lower()}, {algorithm}")

    def _run(self, _: Tenant, found: Found) -> str:
        """Terraform: how the workspace's last run ended, and how much it manages."""
        base = self._around.url("terraform", "/api/v2")
        key = {"Authorization": f"Bearer {self._made.terraform_token}"}
        name = _one(found, "workspace").name
        workspace = self._get(f"{base}/organizations/{ORGANIZATION}/workspaces/{name}", **key)["data"]
        runs = self._get(f"{base}/workspaces/{workspace['id']}/runs", **key)["data"]
        status = runs[0]["attributes"]["status"] if runs else "missing"
        count = workspace["attributes"]["resource-count"]
        return _expected(status == "applied" and count > 0, f"run {status}, {count} resources")

    def _replicas(self, _: Tenant, found: Found) -> str:
        """Kubernetes: whether the application runs."""
        namespace = _one(found, "namespace").name
        deployment = self._get(
            self._around.url("kubernetes", f"/apis/apps/v1/namespaces/{namespace}/deployments/app"),
            Authorization=f"Bearer {self._made.kubernetes_operator_token}",
        )
        wanted, ready = deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0)
        return _expected(wanted == ready > 0, f"{ready} of {wanted} replicas ready")

    def _answer(self, tenant: Tenant, _: Found) -> str:
        """DNS: where the tenant's first name points to."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [HOST], self._around["dns"]
        try:
            answer = resolver.resolve(tenant.domains[0], "CNAME", lifetime=PATIENCE)
        except dns.exception.DNSException as error:
            raise Wrong(f"{tenant.domains[0]} is not known") from error
        return f"→ {str(answer[0]).removesuffix('.')}"

    def _subscription(self, _: Tenant, found: Found) -> str:
        """Stripe: how the subscription stands."""
        customer = _one(found, "customer").id
        listed = self._get(
            self._around.url("stripe", f"/v1/subscriptions?customer={customer}"),
            Authorization=f"Bearer {self._made.stripe_key}",
        )["data"]
        statuses = [one["status"] for one in listed]
        return _expected(statuses == ["active"], f"subscription {', '.join(statuses) or 'missing'}")

    def _get(self, url: str, **headers: str) -> Any:
        answer = self._client.get(url, headers=headers)
        if answer.status_code != 200:
            raise Wrong(f"GET {httpx.URL(url).path} answers {answer.status_code}")
        return answer.json()


def missing(tenant: Tenant, found: Mapping[str, Found]) -> dict[str, list[str]]:
    """What an active tenant must have and has not, and what it has and must not have, system by system."""
    wrong: dict[str, list[str]] = {}
    for system, wanted in must_have(tenant).items():
        kinds = {ref.kind for ref in found[system]}
        wrong[system] = [f"no {kind}" for kind in wanted if kind not in kinds]
        if not wanted:
            wrong[system] = [f"{ref.kind} {ref.name}, which is not for tier {tenant.tier}" for ref in found[system]]
    return {system: said for system, said in wrong.items() if said}


def must_have(tenant: Tenant) -> Mapping[str, Sequence[str]]:
    """The kinds of objects that an active tenant has, system by system."""
    silo = tenant.tier == "silo"
    return {
        "keycloak": ("organization", "user"),
        "postgres": ("schema", "role", "row"),
        "s3": ("bucket", "user"),
        "terraform": ("workspace", "resource") if silo else (),
        "kubernetes": ("namespace",),
        "docker": (),
        "dns": ("record",) if silo else (),
        "stripe": ("customer", "subscription"),
    }


def _one(found: Found, kind: str) -> ObjectRef:
    for ref in found:
        if ref.kind == kind:
            return ref
    raise Wrong(f"no {kind}")


def _expected(holds: bool, said: str) -> str:
    if not holds:
        raise Wrong(said)
    return said
