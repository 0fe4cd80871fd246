"""Terraform Cloud (HCP Terraform, Terraform Enterprise): one workspace per tenant."""

from tenant_pipelines.adapters.terraform.cloud import TerraformCloud
from tenant_pipelines.adapters.terraform.settings import TerraformSettings

__all__ = ["TerraformCloud", "TerraformSettings"]
