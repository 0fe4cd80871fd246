"""The root configuration of a tenant's workspace: one `module "tenant_{key}"` and nothing beside it.

Values never become Terraform code: they are variables of the workspace, and only their names are written here. The
built-in module makes `terraform_data` resources, so that it runs anywhere, offline included; an organization puts its
own module in its place through `TenantModule`.
Source: Terraform language, Modules and `terraform_data`; HCP Terraform API, Configuration Versions.
"""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALWAYS_DECLARED = ("tenant_id", "tenant_key", "tier")
"""Inputs that every tenant module has."""

OUTPUTS = ("bucket_name", "compute_cluster_name", "database_endpoint", "load_balancer_dns", "vpc_id")
"""What the built-in module tells about itself."""

_LOCAL = "./tenant"
_TYPE = "  type = string\n"
_TYPES = {"tier": '  type    = string\n  default = "silo"\n'}
"""Only tenants of this tier have infrastructure of their own."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KEY = re.compile(r"[a-z][a-z0-9]{1,29}")


@dataclass(frozen=True, slots=True)
class TenantModule:
    """The module that makes up one tenant.

    Args:
        source: a Terraform module source; `./tenant` is the built-in one, which is uploaded along.
        version: a version constraint for a module of a registry, else None.
        outputs: the outputs of the module that the root configuration passes on.
    """

    source: str = _LOCAL
    version: str | None = None
    outputs: tuple[str, ...] = OUTPUTS


BUILT_IN = TenantModule()


@dataclass(frozen=True, slots=True)
class Backend:
    """The workspace that a written-out configuration works on (the `cloud` block)."""

    hostname: str
    organization: str
    workspace: str


class UnusableName(ValueError):
    """A key, variable or output has a name that Terraform does not accept."""


def files(key: str, variables: Iterable[str], module: TenantModule = BUILT_IN) -> dict[str, str]:
    """The configuration as path to text.

    Args:
        key: the tenant's key.
        variables: names of the workspace's variables, each of which becomes an input of the module.
        module: the tenant's module.
    Raises: UnusableName.
    """
    names = sorted({*ALWAYS_DECLARED, *variables})
    for name in (*names, *module.outputs):
        if not _NAME.fullmatch(name):
            raise UnusableName(f"{name!r} cannot be the name of a Terraform variable or output")
    if not _KEY.fullmatch(key):
        raise UnusableName(f"{key!r} cannot be part of a Terraform module's name")
    written = {
        "main.tf": _root(key, names, module),
        "variables.tf": _declarations(names),
        "outputs.tf": _outputs({name: f"module.tenant_{key}.{name}" for name in module.outputs}),
    }
    if module.source == _LOCAL:
        written |= {
            "tenant/main.tf": _TENANT,
            "tenant/variables.tf": _declarations(names),
            "tenant/outputs.tf": _outputs(_TENANT_OUTPUTS),
        }
    return written


def archive(configuration: Mapping[str, str]) -> bytes:
    """The configuration as the tar.gz that Terraform Cloud takes; the same input gives the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in sorted(configuration.items()):
            entry = tarfile.TarInfo(path)
            content = text.encode()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def written_out(
    key: str, variables: Mapping[str, str], module: TenantModule = BUILT_IN, backend: Backend | None = None
) -> dict[str, str]:
    """The files for an operator's own `terraform` in a directory.

    With a `backend` it works on the tenant's workspace, whose variables Terraform Cloud supplies; without one it runs
    by itself, on local state, with the values in a file.
    """
    written = files(key, variables, module)
    if backend is None:
        return written | {"tenant.auto.tfvars.json": json.dumps(dict(variables), indent=2, sort_keys=True) + "\n"}
    return written | {"cloud.tf": _cloud(backend)}


def _root(key: str, names: Iterable[str], module: TenantModule) -> str:
    width = max(len(name) for name in names)
    lines = [f"  source = {json.dumps(module.source)}"]
    if module.version is not None:
        lines.append(f"  version = {json.dumps(module.version)}")
    inputs = "\n".join(f"  {name:<{width}} = var.{name}" for name in names)
    return f'{_REQUIRED}\nmodule "tenant_{key}" {{\n{chr(10).join(lines)}\n\n{inputs}\n}}\n'


def _declarations(names: Iterable[str]) -> str:
    return "\n".join(f'variable "{name}" {{\n{_TYPES.get(name, _TYPE)}}}\n' for name in names)


def _outputs(values: Mapping[str, str]) -> str:
    return "\n".join(f'output "{name}" {{\n  value = {value}\n}}\n' for name, value in sorted(values.items()))


def _cloud(backend: Backend) -> str:
    return f"""terraform {{
  cloud {{
    hostname     = {json.dumps(backend.hostname)}
    organization = {json.dumps(backend.organization)}

    workspaces {{
      name = {json.dumps(backend.workspace)}
    }}
  }}
}}
"""


_REQUIRED = """terraform {
  # terraform_data came with 1.4.
  required_version = ">= 1.4"
}
"""

_TENANT = """# What one tenant consists of. Nothing here needs a provider or a network.

resource "terraform_data" "network" {
  input = {
    name   = "vpc-${var.tenant_key}"
    tenant = var.tenant_id
  }
}

resource "terraform_data" "bucket" {
  input = {
    name   = "tenant-${var.tenant_key}-assets"
    tenant = var.tenant_id
  }
}

resource "terraform_data" "database" {
  input = {
    name    = "tenant-${var.tenant_key}"
    network = terraform_data.network.id
    tenant  = var.tenant_id
  }
}

resource "terraform_data" "compute" {
  input = {
    name    = "tenant-${var.tenant_key}"
    network = terraform_data.network.id
    tenant  = var.tenant_id
    tier    = var.tier
  }
}

resource "terraform_data" "load_balancer" {
  input = {
    name    = "lb-${var.tenant_key}"
    network = terraform_data.network.id
    target  = terraform_data.compute.id
    tenant  = var.tenant_id
  }
}
"""

_TENANT_OUTPUTS = {
    "bucket_name": "terraform_data.bucket.output.name",
    "compute_cluster_name": "terraform_data.compute.output.name",
    "database_endpoint": '"${terraform_data.database.output.name}.db.internal:5432"',
    "load_balancer_dns": '"${terraform_data.load_balancer.output.name}.lb.internal"',
    "vpc_id": '"vpc-${terraform_data.network.id}"',
}
