"""How the stand-in is set up: what an operator of a real server would have imported."""

from dataclasses import dataclass, field

LEAST_RIGHTS = frozenset({"manage-organizations", "manage-users"})
"""Client roles of `realm-management` that provisioning cannot do without."""

EVERY_RIGHT = frozenset({"manage-organizations", "manage-users", "manage-realm", "view-realm"})


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a realm.

    Args:
        client_id: its name.
        secret: None for a public client; shown nowhere.
        rights: client roles of `realm-management` that its service account has.
        service_account: whether it may ask for a token of its own (client_credentials).
        direct_access: whether it may trade a user's password for a token.
        redirect_uris: where a link in a mail may lead to.
        enabled: a switched off client gets no token, and its tokens are no good any more.
    """

    client_id: str
    secret: str | None = field(default=None, repr=False)
    rights: frozenset[str] = LEAST_RIGHTS
    service_account: bool = True
    direct_access: bool = False
    redirect_uris: tuple[str, ...] = ()
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Realm:
    """A realm.

    Args:
        name: of the realm.
        clients: that know a secret or are public.
        roles: realm roles beside the ones that every realm has.
        organizations: whether organizations are switched on.
        mail: whether an SMTP server is set up; without one every mail is a 500.
        unmanaged_attributes: the user profile's policy: ADMIN_EDIT, or None, where unknown attributes are dropped.
        token_seconds: for how long an access token is good.
    """

    name: str = "ananta-saas"
    clients: tuple[Client, ...] = ()
    roles: tuple[str, ...] = ("tenant-admin",)
    organizations: bool = True
    mail: bool = True
    unmanaged_attributes: str | None = "ADMIN_EDIT"
    token_seconds: int = 300

    def client(self, client_id: str) -> Client | None:
        """The client of that name."""
        return next((client for client in self.clients if client.client_id == client_id), None)


@dataclass(frozen=True, slots=True)
class Operator:
    """The administrator of the realm `master`, who may do everything in every realm."""

    username: str = "admin"
    password: str = field(default="admin", repr=False)


MASTER = Realm(
    "master",
    clients=(Client("admin-cli", rights=frozenset(), service_account=False, direct_access=True),),
    roles=("admin",),
    organizations=False,
    mail=False,
    unmanaged_attributes=None,
    token_seconds=60,
)
