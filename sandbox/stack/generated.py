"""The files that the stack writes for Dagster, for the product, for people's shells and for programs."""

import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from sandbox.postgres import programs as postgres_programs
from sandbox.seaweed import PRODUCT as PRODUCT_IDENTITY
from sandbox.stack.credentials import DNS_KEY, KEYCLOAK_CLIENT, Credentials
from sandbox.stack.folder import CHECKOUT, Folder, readable_errors, write_private
from sandbox.stack.names import CODE_SOCKET, DAGSTER, DRAIN, LOCATION, LOGS_BUCKET, ORGANIZATION, PRODUCT, REGION
from sandbox.stack.ports import HOST, OFFSET, Ports

SERVICES: Mapping[str, str] = {
    "postgres": f"postgresql://{HOST}:{{port}}/{PRODUCT}",
    "s3": f"http://{HOST}:{{port}}",
    "keycloak": f"http://{HOST}:{{port}}/auth",
    "terraform": f"http://{HOST}:{{port}}",
    "kubernetes": f"http://{HOST}:{{port}}",
    "docker": f"http://{HOST}:{{port}}",
    "dns": f"dns://{HOST}:{{port}}",
    "stripe": f"http://{HOST}:{{port}}",
    "novu": f"http://{HOST}:{{port}}",
    "app_plane": f"http://{HOST}:{{port}}",
}
"""The outside systems in the contract's order, and where each one answers."""

SWITCHES: Mapping[str, str] = {"postgres": "postgres_switch", "s3": "s3_switch", "dns": "dns_switch"}
"""The systems whose fault switch has a port of its own."""


WITHOUT_POOL = "# Without the pool"
"""Begins the last comment of dagster_home/dagster.yaml."""


def write_all(folder: Folder, ports: Ports, made: Credentials, *, pool: bool = True) -> None:
    """Everything except stack.json.

    Args: pool: whether there are warm workers. Without them `dagster dev` starts a process for each run.
    """
    template = CHECKOUT / "dagster_home" / "dagster.yaml"
    with readable_errors(template):
        text = template.read_text()
        write_private(folder.dagster_home / "dagster.yaml", text if pool else without_pool(text))
    write_private(folder.workspace, workspace(folder))
    write_private(folder.kubeconfig, kubeconfig(ports, made))
    write_private(folder.settings_env, _assignments(settings(folder, ports, made)))
    write_private(folder.dagster_env, _assignments(dagster(folder, ports, made)))
    write_private(folder.shell_env, shell(folder, ports, made))


def without_pool(text: str) -> str:
    """The same dagster.yaml with the sections that its own last comment gives for going without the pool."""
    lines = text.split(WITHOUT_POOL, 1)[1].splitlines()
    sections = "\n".join(line.removeprefix("# ") for line in lines[lines.index("#") + 1 :])
    merged: str = yaml.safe_dump({**yaml.safe_load(text), **yaml.safe_load(sections)}, sort_keys=False)
    return merged


def switch_url(ports: Ports, name: str) -> str:
    """Where the fault switch of a system is, without `/_sandbox`."""
    if name in SWITCHES:
        return ports.url(SWITCHES[name])
    return SERVICES[name].format(port=ports[name])


def stack(ports: Ports, *, rest: bool, dagster: bool = True) -> dict[str, Any]:
    """The contents of stack.json.

    Args: rest, dagster: whether the REST API and Dagster are there.
    """
    services: dict[str, dict[str, str]] = {}
    for name, url in SERVICES.items():
        services[name] = {"url": url.format(port=ports[name])}
        if name in SWITCHES:
            services[name]["sandbox_url"] = switch_url(ports, name)
    return {
        "version": importlib.metadata.version("tenant-pipelines"),
        "services": services,
        **({"dagster": {"url": ports.url("dagster")}} if dagster else {}),
        **({"rest": {"url": ports.url("rest")}} if rest else {}),
        "database": {"host": HOST, "port": ports["postgres"], "name": PRODUCT},
    }


def write_stack(folder: Folder, document: Mapping[str, Any]) -> None:
    """Say where everything is; to be called when all of it answers."""
    write_private(folder.stack_json, json.dumps(document, indent=2) + "\n")


def workspace(folder: Folder) -> str:
    """One code server for daemon and webserver, over a unix socket: nobody else on the machine can reach it."""
    socket = json.dumps(str(folder.sockets / CODE_SOCKET))
    return f"load_from:\n  - grpc_server:\n      socket: {socket}\n      location_name: {LOCATION}\n"


def kubeconfig(ports: Ports, made: Credentials) -> str:
    """For kubectl, which sends no token over plain HTTP: the token stands in the address, as a password."""
    server = f"http://kubectl:{made.kubernetes_operator_token}@{HOST}:{ports['kubernetes']}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": {"server": server}}],
        "users": [{"name": "sandbox", "user": {}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
        "current-context": "sandbox",
    }
    return json.dumps(document, indent=2) + "\n"


def settings(folder: Folder, ports: Ports, made: Credentials) -> dict[str, str]:
    """The product's settings (tenant_pipelines/settings.py) for this stack."""
    values = {
        "database_url": database_url("control_plane", ports, made.control_plane_password),
        "provisioner_database_url": database_url("provisioner", ports, made.provisioner_password),
        "keycloak_url": ports.url("keycloak", "/auth"),
        "keycloak_realm": "ananta-saas",
        "keycloak_client_id": KEYCLOAK_CLIENT,
        "keycloak_client_secret": made.keycloak_client_secret,
        "s3_url": ports.url("s3"),
        "s3_region": REGION,
        "s3_access_key": made.s3_access_key,
        "s3_secret_key": made.s3_secret_key,
        "s3_owner": PRODUCT_IDENTITY,
        "s3_accept_missing": '["public_access_block"]',
        "terraform_url": ports.url("terraform"),
        "terraform_organization": ORGANIZATION,
        "terraform_token": made.terraform_token,
        "terraform_look_again_after": "1",
        "kubernetes_url": ports.url("kubernetes"),
        "kubernetes_token": made.kubernetes_token,
        "docker_url": f"tcp://{HOST}:{ports['docker']}",
        "application_image": "tenant-application:latest",
        "dns_server": f"{HOST}:{ports['dns']}",
        "dns_zone": "localhost",
        "dns_key_name": DNS_KEY,
        "dns_key_secret": made.dns_key_secret,
        "stripe_url": ports.url("stripe"),
        "stripe_key": made.stripe_key,
        "novu_url": ports.url("novu"),
        "novu_key": made.novu_key,
        "app_plane_url": ports.url("app_plane"),
        "app_plane_webhook_secret": made.app_plane_webhook_secret,
        "app_plane_signal_secret": made.app_plane_signal_secret,
        "rest_host": HOST,
        "rest_port": str(ports["rest"]),
        "dagster_url": ports.url("dagster"),
        "worker_drain": str(DRAIN),
        "log_format": "text",
        "log_file": str(folder.logs / "worker.log"),
    }
    return {f"TENANT_PIPELINES_{name.upper()}": value for name, value in values.items()}


def database_url(role: str, ports: Ports, password: str) -> str:
    """The product's database, through the proxy with the fault switch."""
    return f"postgresql://{role}:{password}@{HOST}:{ports['postgres']}/{PRODUCT}"


def dagster(folder: Folder, ports: Ports, made: Credentials) -> dict[str, str]:
    """What dagster_home/dagster.yaml asks for."""
    return {
        "DAGSTER_HOME": str(folder.dagster_home.absolute()),
        "DAGSTER_POSTGRES_HOST": HOST,
        "DAGSTER_POSTGRES_PORT": str(ports["postgres_server"]),
        "DAGSTER_POSTGRES_DB": DAGSTER,
        "DAGSTER_POSTGRES_USER": DAGSTER,
        "DAGSTER_POSTGRES_PASSWORD": made.dagster_password,
        "TENANT_PIPELINES_DATABASE_URL": database_url("control_plane", ports, made.control_plane_password),
        "DAGSTER_LOGS_BUCKET": LOGS_BUCKET,
        "DAGSTER_LOGS_URL": ports.url("s3_server"),
        "DAGSTER_LOGS_STAGING": str((folder.dagster_home / "compute_logs").absolute()),
        "AWS_ACCESS_KEY_ID": made.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": made.s3_secret_key,
        "AWS_DEFAULT_REGION": REGION,
    }


def shell(folder: Folder, ports: Ports, made: Credentials) -> str:
    """What a person's shell needs: `. .local/env`."""
    values = {
        "PGHOST": HOST,
        "PGPORT": str(ports["postgres"]),
        "PGUSER": "postgres",
        "PGPASSWORD": made.postgres_password,
        "PGDATABASE": PRODUCT,
        OFFSET: str(ports.offset),
        "KUBECONFIG": str(folder.kubeconfig.absolute()),
        "DOCKER_HOST": f"tcp://{HOST}:{ports['docker']}",
        **dagster(folder, ports, made),
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    path = os.pathsep.join(shlex.quote(str(place)) for place in _programs())
    return "\n".join([*lines, f'export PATH={path}{os.pathsep}"$PATH"']) + "\n"


def _programs() -> list[Path]:
    """Where `tenant-pipelines` and psql are."""
    return [Path(sys.executable).parent, postgres_programs()]


def _assignments(values: Mapping[str, str]) -> str:
    """Lines that /bin/sh and python-dotenv read alike."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def part_exists(module: str) -> bool:
    """Whether a part of the product has been built yet."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
