"""Which stand-ins and proxies the stack has, and how each is made from the stack's credentials and ports."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from sandbox.app_plane import AppPlane
from sandbox.dns import NameServer
from sandbox.docker import DockerDaemon
from sandbox.keycloak import Client, Keycloak, Operator, Realm
from sandbox.kubernetes import OPERATOR, PROVISIONER, KubernetesStandIn
from sandbox.novu import Novu
from sandbox.postgres import Server
from sandbox.postgres_proxy import PostgresProxy
from sandbox.s3_proxy import S3Proxy
from sandbox.seaweed import Key
from sandbox.stack.credentials import DNS_KEY, KEYCLOAK_CLIENT, Credentials
from sandbox.stack.folder import Folder
from sandbox.stack.names import ORGANIZATION, PRODUCT
from sandbox.stack.ports import HOST, Ports
from sandbox.standin import StandIn
from sandbox.store import Store
from sandbox.stripe import Stripe
from sandbox.tcp_proxy import Upstream
from sandbox.terraform import TerraformCloudStandIn

Opened = AbstractAsyncContextManager[object]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stand-in may be made from."""

    folder: Folder
    ports: Ports
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Made:
    """A stand-in with the ports it takes.

    Args:
        stand_in: its HTTP side goes to `http_port`.
        also: opens whatever it listens on besides (TCP, UDP); None for most.
    """

    stand_in: StandIn
    http_port: str
    also: Callable[[], Opened] | None = None


def _keycloak(store: Store, around: Surroundings) -> Made:
    rights = frozenset({"manage-organizations", "manage-users", "view-realm"})
    client = Client(KEYCLOAK_CLIENT, secret=around.credentials.keycloak_client_secret, rights=rights)
    operator = Operator("admin", around.credentials.keycloak_password)
    return Made(Keycloak(store, realms=(Realm(clients=(client,)),), operator=operator), "keycloak")


def _docker(store: Store, _: Surroundings) -> Made:
    return Made(DockerDaemon(store), "docker")


def _stripe(store: Store, around: Surroundings) -> Made:
    return Made(Stripe(store, key=around.credentials.stripe_key), "stripe")


def _dns(store: Store, around: Surroundings) -> Made:
    server = NameServer(store, key_name=DNS_KEY, key_secret=around.credentials.dns_key_secret)
    return Made(server, "dns_switch", lambda: server.listening(around.ports["dns"]))


def _terraform(store: Store, around: Surroundings) -> Made:
    found = shutil.which("terraform") or shutil.which("tofu")
    return Made(
        TerraformCloudStandIn(
            store,
            organization=ORGANIZATION,
            token=around.credentials.terraform_token,
            binary=None if found is None else Path(found),
            folder=around.folder.sandbox / "terraform",
        ),
        "terraform",
    )


def _kubernetes(store: Store, around: Surroundings) -> Made:
    made = around.credentials
    users = {made.kubernetes_operator_token: OPERATOR, made.kubernetes_token: PROVISIONER}
    return Made(KubernetesStandIn(store, users=users), "kubernetes")


def _novu(store: Store, around: Surroundings) -> Made:
    return Made(Novu(store, key=around.credentials.novu_key), "novu")


def _app_plane(store: Store, around: Surroundings) -> Made:
    made = around.credentials
    stand_in = AppPlane(
        store,
        inbound_secret=made.app_plane_webhook_secret,
        outbound_secret=made.app_plane_signal_secret,
        confirm_url=around.ports.url("rest", "/webhooks/app-plane"),
    )
    return Made(stand_in, "app_plane")


def _postgres(store: Store, around: Surroundings) -> Made:
    server = Server(HOST, around.ports["postgres_server"], around.credentials.postgres_password)
    proxy = PostgresProxy(Upstream(server.port), server.dsn(PRODUCT), store)
    return Made(proxy, "postgres_switch", lambda: proxy.listening(around.ports["postgres"]))


def _s3(store: Store, around: Surroundings) -> Made:
    made = around.credentials
    operator = Key(made.s3_operator_access_key, made.s3_operator_secret_key)
    proxy = S3Proxy(Upstream(around.ports["s3_server"]), operator, store)
    return Made(proxy, "s3_switch", lambda: proxy.listening(around.ports["s3"]))


STAND_INS: Mapping[str, Callable[[Store, Surroundings], Made]] = {
    "postgres": _postgres,
    "s3": _s3,
    "keycloak": _keycloak,
    "terraform": _terraform,
    "kubernetes": _kubernetes,
    "docker": _docker,
    "dns": _dns,
    "stripe": _stripe,
    "novu": _novu,
    "app_plane": _app_plane,
}
