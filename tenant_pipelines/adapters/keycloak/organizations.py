"""Organizations: found by our mark in their attributes, made with it in one request, changed and removed only by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keycloak import KeycloakAdmin

from tenant_pipelines.adapters.keycloak.refusal import Refusal
from tenant_pipelines.adapters.keycloak.settings import SYSTEM, KeycloakRealm
from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    ResourceAlreadyExists,
    Validation,
)
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Removal,
    Removed,
)

LONGEST = 255
"""Characters of a name or domain; Keycloak answers a longer one with 500."""

Attributes = Mapping[str, Sequence[str]]


def attributes(mark: Mark) -> dict[str, list[str]]:
    """The mark as Keycloak's attributes, each a list of values."""
    return {name: [value] for name, value in mark.labels().items()}


def carries(found: Attributes, mark: Mark) -> bool:
    """Whether the attributes hold the whole mark."""
    return all(list(found.get(name, ())) == value for name, value in attributes(mark).items())


def query(mark: Mark) -> str:
    """The mark as a search by attributes. Without a colon in it Keycloak would answer everybody's."""
    return " ".join(f"{name}:{value}" for name, value in mark.labels().items())


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as Keycloak describes it; `raw` is the whole of it, to be sent back when it is changed."""

    id: str
    name: str
    alias: str
    enabled: bool
    domains: Mapping[str, Mapping[str, Any]]
    attributes: Attributes
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Organization":
        """Raises: LookupError or TypeError when it is no organization."""
        return cls(
            id=raw["id"],
            name=raw["name"],
            alias=raw["alias"],
            enabled=raw.get("enabled", True),
            domains={domain["name"]: domain for domain in raw.get("domains", ())},
            attributes=raw.get("attributes", {}),
            raw=raw,
        )


class Organizations:
    """The organizations of one realm, through the client of one call."""

    def __init__(self, admin: KeycloakAdmin, settings: KeycloakRealm) -> None:
        self._admin = admin
        self._settings = settings

    def marked(self, mark: Mark) -> list[Organization]:
        """Those that carry the mark."""
        return [one for one in self._search(q=query(mark)) if carries(one.attributes, mark)]

    def ensure(self, alias: str, name: str, domains: Sequence[str], mark: Mark) -> Ensured:
        """Create it, or adopt it when it carries the mark."""
        if any(not 0 < len(text) <= LONGEST for text in (name, *domains)):
            raise Validation(
                SYSTEM, f"takes 1 to {LONGEST} characters for a name or domain of the organization {alias}"
            )
        mine = self._mine(alias, mark)
        try:
            if mine is not None:
                return self._adopt(mine, name, domains)
            return self._create(alias, name, domains, mark)
        except Refusal as refusal:
            raise self._why(refusal, alias, domains, mark) from refusal

    def remove(self, alias: str, mark: Mark) -> Removal:
        """Remove it when it carries the mark. Its members' accounts stay."""
        mine = self._mine(alias, mark)
        if mine is None:
            named = [one for one in self._search(q=f"alias:{alias}") if one.alias == alias]
            nothing = ObjectRef("keycloak", "organization", alias, alias)
            return NotOurs(self.ref(named[0])) if named else NothingToRemove(nothing)
        try:
            self._admin.delete_organization(mine.id)
        except Refusal as refusal:
            with refusal.looked_into():
                done = refusal.status == 404 or (refusal.unknown and self._mine(alias, mark) is None)
            if not done:
                raise refusal.failure(f"the organization {alias}") from refusal
        return Removed(self.ref(mine))

    def ref(self, organization: Organization) -> ObjectRef:
        """How it is spoken of outside."""
        return self._ref(organization.alias, organization.id)

    def _ref(self, alias: str, key: str) -> ObjectRef:
        return ObjectRef("keycloak", "organization", alias, key, self._settings.console("organizations", key))

    def _create(self, alias: str, name: str, domains: Sequence[str], mark: Mark) -> Ensured:
        body = {
            "alias": alias,
            "name": name,
            "enabled": True,
            "domains": [{"name": domain, "verified": False} for domain in domains],
            "attributes": attributes(mark),
        }
        try:
            key = self._admin.create_organization(body)
        except Refusal as refusal:
            # 409: what an earlier attempt of ours sent may have arrived since we looked. 5xx: nobody knows.
            if refusal.status != 409 and not refusal.unknown:
                raise
            with refusal.looked_into():
                mine = self._mine(alias, mark)
            if mine is None:
                raise
            made = Adopted if refusal.status == 409 else Created
            return made(self.ref(mine), _facts(domains))
        if key is None:
            raise Answered(SYSTEM, f"has created the organization {alias} without saying where")
        return Created(self._ref(alias, key), _facts(domains))

    def _adopt(self, mine: Organization, name: str, domains: Sequence[str]) -> Adopted:
        wanted = [mine.domains.get(domain.lower(), {"name": domain, "verified": False}) for domain in domains]
        changes = {"name": name, "enabled": True, "domains": wanted}
        if (mine.name, mine.enabled, set(mine.domains)) != (name, True, {d["name"].lower() for d in wanted}):
            self._admin.update_organization(mine.id, {**mine.raw, **changes})
        return Adopted(self.ref(mine), _facts(domains))

    def _mine(self, alias: str, mark: Mark) -> Organization | None:
        return next((one for one in self.marked(mark) if one.alias == alias), None)

    def _search(self, **params: Any) -> list[Organization]:  # noqa: ANN401 - query parameters
        try:
            found = self._admin.get_organizations({"briefRepresentation": "false", **params})
        except Refusal as refusal:
            if refusal.status == 404:
                raise self._closed() from refusal
            raise
        return [Organization.read(one) for one in found]

    def _closed(self) -> Failure:
        """Why the realm has no organizations at all."""
        realm = self._settings.realm
        try:
            self._admin.get_realm(realm)
        except Refusal as refusal:
            if refusal.status == 404:
                return InvalidConfiguration(SYSTEM, f"realm not found: {realm}")
            return refusal.failure(f"the realm {realm}")
        where = f"Keycloak console, realm {realm}, Realm settings, General: switch Organizations on"
        return InvalidConfiguration(SYSTEM, f"has organizations switched off in the realm {realm}", way_out=where)

    def _why(self, refusal: Refusal, alias: str, domains: Sequence[str], mark: Mark) -> Failure:
        """What a refusal to create or change means; its text is of no use, it would name the other tenant."""
        if refusal.status == 409:
            what = f"organization {alias} cannot be had: its alias or its name is taken by one that is not ours"
            return ResourceAlreadyExists(SYSTEM, what, way_out="give the tenant another name, or remove the other one")
        if refusal.status == 400:
            taken = [domain for domain in domains if self._is_taken(domain, mark)]
            if taken:
                what = f"organization {alias} cannot have {', '.join(taken)}: another organization has it"
                return ResourceAlreadyExists(SYSTEM, what, way_out="give the tenant another domain")
        return refusal.failure(f"the organization {alias} with the domains {', '.join(domains) or '(none)'}")

    def _is_taken(self, domain: str, mark: Mark) -> bool:
        found = self._search(search=domain, exact="true")
        return any(domain.lower() in one.domains and not carries(one.attributes, mark) for one in found)


def _facts(domains: Sequence[str]) -> dict[str, str]:
    return {"domains": ", ".join(domains)}
