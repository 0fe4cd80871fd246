"""What the adapters answer: unions to match on, never booleans."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object in one outside system.

    Args:
        system: the inspection name of the contract: postgres, s3, keycloak, terraform, kubernetes, docker, dns,
            stripe, novu, app_plane.
        kind: what it is there: organization, user, schema, role, bucket, workspace, namespace, container, ...
        name: what people call it.
        id: what the system calls it; the name again where it has no other.
        url: where a person can look at it, or None.
    """

    system: str
    kind: str
    name: str
    id: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """It was not there and is now."""

    ref: ObjectRef
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Adopted:
    """It was there and carried our mark; it has been brought up to date."""

    ref: ObjectRef
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """An action, not an object: it had been done before and was not done again."""

    ref: ObjectRef
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Pending:
    """It goes on in the outside system; look again with the same arguments and this token.

    Args:
        reason: what is waited for, and what blocks it, for people.
        token: the outside operation's ids; durable, so that nothing is begun twice.
        look_again_after: seconds.
    """

    reason: str
    token: Mapping[str, str]
    look_again_after: float


Ensured = Created | Adopted | AlreadyDone


@dataclass(frozen=True, slots=True)
class Removed:
    """It carried our mark and is gone now."""

    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class NothingToRemove:
    """It was not there (removed by hand counts as removed)."""

    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class NotOurs:
    """It is there without our mark: it was left alone."""

    ref: ObjectRef


Removal = Removed | NothingToRemove | NotOurs
