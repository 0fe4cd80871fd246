"""The passwords, keys and tokens of one stack: made at its first start, kept in `.local/credentials.json` (0600)."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sandbox.stack.folder import Folder, write_private

Shown = Mapping[str, Mapping[str, str]]

KEYCLOAK_CLIENT = "provisioner"
DNS_KEY = "tenant-pipelines"

PLACES: Mapping[str, tuple[str, str]] = {
    "postgres_password": ("postgres", "password"),
    "control_plane_password": ("control_plane", "password"),
    "provisioner_password": ("provisioner", "password"),
    "dagster_password": ("dagster", "password"),
    "s3_operator_access_key": ("s3", "access_key"),
    "s3_operator_secret_key": ("s3", "secret_key"),
    "s3_access_key": ("provisioner", "access_key"),
    "s3_secret_key": ("provisioner", "secret_key"),
    "keycloak_password": ("keycloak", "password"),
    "keycloak_client_secret": ("keycloak", "secret_key"),
    "terraform_token": ("terraform", "token"),
    "kubernetes_operator_token": ("kubernetes", "token"),
    "kubernetes_token": ("provisioner", "token"),
    "dns_key_secret": ("dns", "secret_key"),
    "stripe_key": ("stripe", "secret_key"),
    "novu_key": ("novu", "secret_key"),
    "app_plane_webhook_secret": ("app_plane", "secret_key"),
    "app_plane_signal_secret": ("app_plane", "token"),
    "jwt_secret": ("jwt", "secret"),
}
"""Where each one stands in the file.

What stands at a system's name is for people, who may do everything there. What the product itself signs in with
stands at `provisioner`: its role in the database, its keys at S3, its token at Kubernetes. `control_plane` and
`dagster` are roles of the database too. Keycloak's secret key is its client's secret; the app plane's signs what it is
sent, its token what it sends back.
"""

USERS: Shown = {
    "postgres": {"user": "postgres"},
    "control_plane": {"user": "control_plane"},
    "provisioner": {"user": "provisioner"},
    "dagster": {"user": "dagster"},
    "keycloak": {"user": "admin", "access_key": KEYCLOAK_CLIENT},
    "dns": {"user": DNS_KEY},
    "docker": {},
}
"""What is written beside the secrets. Docker's API on loopback asks for none."""


def _word() -> str:
    return secrets.token_urlsafe(24)


def _base64() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _webhook_secret() -> str:
    return f"whsec_{_base64()}"


def _stripe_key() -> str:
    return f"sk_test_{secrets.token_hex(24)}"


def _access_key() -> str:
    return f"AKIA{secrets.token_hex(8).upper()}"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Each one fresh unless it is given."""

    postgres_password: str = field(default_factory=_word)
    control_plane_password: str = field(default_factory=_word)
    provisioner_password: str = field(default_factory=_word)
    dagster_password: str = field(default_factory=_word)
    s3_operator_access_key: str = field(default_factory=_access_key)
    s3_operator_secret_key: str = field(default_factory=_word)
    s3_access_key: str = field(default_factory=_access_key)
    s3_secret_key: str = field(default_factory=_word)
    keycloak_password: str = field(default_factory=_word)
    keycloak_client_secret: str = field(default_factory=_word)
    terraform_token: str = field(default_factory=_word)
    kubernetes_operator_token: str = field(default_factory=_word)
    kubernetes_token: str = field(default_factory=_word)
    dns_key_secret: str = field(default_factory=_base64)
    stripe_key: str = field(default_factory=_stripe_key)
    novu_key: str = field(default_factory=_word)
    app_plane_webhook_secret: str = field(default_factory=_webhook_secret)
    app_plane_signal_secret: str = field(default_factory=_webhook_secret)
    jwt_secret: str = field(default_factory=_base64)


def ensure(folder: Folder) -> Credentials:
    """Read them; what is missing in the file is made, and the file written anew."""
    known = _read(folder)
    made = Credentials(**known)
    if len(known) < len(PLACES):
        write_private(folder.credentials_json, json.dumps(_shown(made), indent=2) + "\n")
    return made


def _read(folder: Folder) -> dict[str, str]:
    if not folder.credentials_json.exists():
        return {}
    written = json.loads(folder.credentials_json.read_text())
    return {name: written[part][key] for name, (part, key) in PLACES.items() if key in written.get(part, {})}


def _shown(credentials: Credentials) -> Shown:
    shown = {part: dict(fields) for part, fields in USERS.items()}
    for name, value in asdict(credentials).items():
        part, key = PLACES[name]
        shown.setdefault(part, {})[key] = value
    return shown
