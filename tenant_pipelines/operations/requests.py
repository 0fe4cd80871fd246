"""What callers may ask for, checked before anything is touched."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenant_pipelines.domain.plans import tier_of
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import KEY, RESERVED_KEYS, Contact, Tier

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*")
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant to be created. The plan decides the tier; without a plan the tier must be given."""

    key: str
    name: str
    admin: Contact
    plan_id: str | None
    tier: Tier
    domains: tuple[str, ...]


def new_tenant(
    *,
    key: str,
    name: str,
    admin_email: str,
    admin_first_name: str | None = None,
    admin_last_name: str | None = None,
    plan_id: str | None = None,
    tier: str | None = None,
    domains: Sequence[str] | None = None,
    plans: Mapping[str, Tier],
) -> NewTenant:
    """Check the fields of a new tenant.

    Raises: Refused INVALID or RESERVED, naming the field, the reason and what is allowed.
    """
    _check_key(key)
    if not name.strip():
        raise _invalid("name", "must not be empty")
    _check_text("name", name.strip(), 200)
    _check_text("adminFirstName", admin_first_name or "", 100)
    _check_text("adminLastName", admin_last_name or "", 100)
    _check_text("adminEmail", admin_email, 254)
    if not _EMAIL.fullmatch(admin_email):
        raise _invalid("adminEmail", f"{admin_email[:60]!r} is not an e-mail address")
    wanted = tuple(dict.fromkeys(domain.lower() for domain in domains)) if domains else (f"{key}.localhost",)
    for domain in wanted:
        if not _DOMAIN.fullmatch(domain):
            raise _invalid("domains", f"{domain[:60]!r} is not a domain name")
    contact = Contact(admin_first_name or "", admin_last_name or "", admin_email, primary=True)
    return NewTenant(key, name.strip(), contact, plan_id, _tier(plan_id, tier, plans), wanted)


def _check_text(field: str, value: str, at_most: int) -> None:
    """No longer than that, and nothing in it that is not text (a database refuses NUL and half a character)."""
    if len(value) > at_most:
        raise _invalid(field, f"must be at most {at_most} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise _invalid(field, "must not contain control characters")


def _check_key(key: str) -> None:
    if not KEY.fullmatch(key):
        raise _invalid("key", f"{key[:60]!r} must be 2 to 30 small letters and digits, beginning with a letter")
    if key in RESERVED_KEYS:
        raise Refused(Code.RESERVED, f"The key {key!r} is reserved: {', '.join(sorted(RESERVED_KEYS))}.")


def _tier(plan_id: str | None, tier: str | None, plans: Mapping[str, Tier]) -> Tier:
    if tier is not None and tier not in set(Tier):
        raise _invalid("tier", f"{tier[:60]!r} is none of {', '.join(Tier)}")
    if plan_id is None:
        if tier is None:
            raise _invalid("planId", "a plan or a tier must be given")
        return Tier(tier)
    of_plan = tier_of(plan_id, plans)
    if tier is not None and Tier(tier) is not of_plan:
        raise _invalid("tier", f"{tier} does not agree with plan {plan_id}, which is {of_plan}")
    return of_plan


def uuid_of(value: object, field: str = "tenantId") -> UUID:
    """A plain UUID; anything else is refused without being repeated.

    Raises: Refused INVALID.
    """
    text = str(value) if isinstance(value, str | UUID) else ""
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise Refused(Code.INVALID, f"{field} is required and must be a UUID.")
    return UUID(text)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The payload of the signal `appPlaneProvisioned`."""

    organization_id: str | None
    admin_user_id: str | None
    success: bool
    error: str | None

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "organizationId": self.organization_id,
            "adminUserId": self.admin_user_id,
            "success": self.success,
            "error": self.error,
        }


def confirmation(payload: Mapping[str, Any]) -> Confirmation:
    """Check the signal's fields.

    Raises: Refused INVALID.
    """
    unknown = set(payload) - {"organizationId", "adminUserId", "success", "error"}
    if unknown:
        raise _invalid("appPlaneProvisioned", f"unknown fields: {', '.join(sorted(map(repr, unknown)))[:200]}")
    if not isinstance(payload.get("success"), bool):
        raise _invalid("success", "must be true or false")
    texts = {name: payload.get(name) for name in ("organizationId", "adminUserId", "error")}
    for name, value in texts.items():
        if value is not None and (not isinstance(value, str) or len(value) > 2000):
            raise _invalid(name, "must be a text of at most 2000 characters")
    return Confirmation(
        organization_id=_storable(texts["organizationId"]),
        admin_user_id=_storable(texts["adminUserId"]),
        success=payload["success"],
        error=_storable(texts["error"]),
    )


def _storable(text: str | None) -> str | None:
    """What somebody else has to say, with a question mark for all that PostgreSQL's text cannot hold."""
    return text and "".join("?" if unicodedata.category(c) == "Cs" or c == "\0" else c for c in text)


def _invalid(field: str, why: str) -> Refused:
    return Refused(Code.INVALID, f"{field}: {why}.")
