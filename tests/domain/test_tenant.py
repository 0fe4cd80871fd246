"""Status, transitions and keys, as the contract has them."""

import re

import pytest

from tenant_pipelines.domain.tenant import (
    KEY,
    PLATFORM,
    PROVISION_FROM,
    RESERVED_KEYS,
    TRANSITIONS,
    Contact,
    Status,
    Tenant,
    Tier,
    may_change,
)

CONTRACT = "1→2 4 · 2→0 3 7 · 3→1 2 4 6 · 6→1 2 4 7 · 7→1 2 4 · 0→4 · 4→0 5 8 · 5→4"
STATUSES = (
    "0 ACTIVE · 1 PENDING_PROVISION · 2 PROVISIONING · 3 PROVISION_FAILED · 4 DEPROVISIONING · 5 INACTIVE · "
    "6 QUEUED_FOR_RETRY · 7 PROVISION_CANCELLED · 8 DEPROVISIONED"
)


def test_the_statuses_are_the_contracts() -> None:
    assert " · ".join(f"{status.value} {status.name}" for status in Status) == STATUSES


def test_the_transitions_are_the_contracts() -> None:
    allowed = {
        Status(int(old)): {Status(int(new)) for new in news.split()}
        for old, news in (part.split("→") for part in CONTRACT.split(" · "))
    }

    assert {old: set(news) for old, news in TRANSITIONS.items() if news} == allowed
    assert TRANSITIONS[Status.DEPROVISIONED] == frozenset()


@pytest.mark.parametrize("status", Status)
def test_every_status_may_stay_as_it_is(status: Status) -> None:
    assert may_change(status, status)


def test_provisioning_starts_wherever_the_table_lets_it_become_provisioning() -> None:
    assert {old for old, news in TRANSITIONS.items() if Status.PROVISIONING in news} == PROVISION_FROM


def test_every_reserved_key_could_be_taken_if_it_were_not_reserved() -> None:
    assert all(re.fullmatch(KEY, key) for key in RESERVED_KEYS)


def tenant(*contacts: Contact) -> Tenant:
    return Tenant(PLATFORM, "acme", "Acme", Status.ACTIVE, Tier.POOLED, (), contacts)


def test_the_administrator_is_the_primary_contact_else_the_first_else_nobody() -> None:
    ann, bob = Contact("Ann", "A", "ann@a.example"), Contact("Bob", "B", "bob@a.example", primary=True)

    assert tenant(ann, bob).admin == bob
    assert tenant(ann).admin == ann
    assert tenant().admin is None


def test_the_mark_names_the_tenant_and_us() -> None:
    assert tenant().mark.labels() == {
        "tenantId": str(PLATFORM),
        "tenantKey": "acme",
        "managedBy": "tenant-pipelines",
    }
