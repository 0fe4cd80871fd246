"""Tenants: create one, read one or all of them."""

from collections.abc import Sequence
from uuid import UUID

from tenant_pipelines.domain.tenant import Tenant
from tenant_pipelines.ledger.claims import Claimant
from tenant_pipelines.ledger.operator_ledger import NewRow
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.operations.requests import NewTenant


def create(desk: Desk, new: NewTenant, claimant: Claimant) -> Tenant:
    """Write the tenant's row, PENDING_PROVISION; nothing is provisioned yet.

    Raises: Refused KEY_TAKEN, DOMAIN_TAKEN, UNAVAILABLE.
    """
    row = NewRow(
        key=new.key,
        name=new.name,
        tier=new.tier.value,
        domains=new.domains,
        first_name=new.admin.first_name,
        last_name=new.admin.last_name,
        email=new.admin.email,
        plan_id=new.plan_id,
    )
    return desk.ledger.create_tenant(row, claimant)


def show(desk: Desk, key_or_id: str) -> Tenant:
    """One tenant, by its id or its key.

    Raises: Refused NOT_FOUND, UNAVAILABLE.
    """
    try:
        tenant_id = UUID(key_or_id)
    except ValueError:
        tenant_id = desk.ledger.tenant_id_of_key(key_or_id)
    return desk.ledger.tenant(tenant_id)


def find(desk: Desk, *, status: int | None = None, limit: int = 50, offset: int = 0) -> Sequence[Tenant]:
    """Tenants, newest first."""
    return desk.ledger.tenants(status=status, limit=limit, offset=offset)
