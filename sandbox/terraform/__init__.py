"""A stand-in for HCP Terraform: its API, and runs by a real `terraform` or by a planner of its own."""

from sandbox.terraform.standin import TerraformCloudStandIn

__all__ = ["TerraformCloudStandIn"]
