"""Where Keycloak is and as whom we come."""

from dataclasses import dataclass, field

SYSTEM = "Keycloak"


@dataclass(frozen=True, slots=True)
class KeycloakRealm:
    """The shared realm, and the client whose service account works in it.

    Args:
        url: of the server with its base path: `https://sso.example/auth`.
        realm: in which every tenant has its organization; it is never created nor deleted here.
        client_id: confidential client with a service account that has the client roles `manage-organizations` and
            `manage-users` of `realm-management`, and needs no others. Its access token has to show them, so a
            lightweight one will not do.
        client_secret: of that client; shown nowhere.
        admin_role: realm role given to a tenant's administrator where the realm has one of that name.
        invitation_seconds: for how long the link in the invitation mail works.
    """

    url: str
    realm: str
    client_id: str
    client_secret: str = field(repr=False)
    admin_role: str = "tenant-admin"
    invitation_seconds: int = 7 * 24 * 3600

    def console(self, kind: str, key: str) -> str:
        """Where a person can look at an object of the realm."""
        return f"{self.url.rstrip('/')}/admin/master/console/#/{self.realm}/{kind}/{key}/settings"
