"""The user profile: which fields a user has, who may edit them, and what a value may look like."""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.keycloak.answers import field
from sandbox.keycloak.settings import Realm

LONGEST = 2048
"""Characters of an attribute's value."""

_EMAIL = re.compile(r"[^@\s<>\"]{1,64}@[^@\s.<>\"][^@\s<>\"]*")
_NOT_IN_USERNAMES = re.compile(r"[<>&\"'\s$%!#?§,;:*~/\\|^=\[\]{}()`\x00-\x1f\x7f]")
_NOT_IN_NAMES = re.compile(r"[<>&\"$%!#?§;*~/\\|^=\[\]{}()\x00-\x1f\x7f]")
_BOTH = {"view": ["admin", "user"], "edit": ["admin", "user"]}


def described(realm: Realm) -> dict[str, Any]:
    """The profile as the admin API shows it."""
    length = {"length": {"max": 255}}
    username = {
        "length": {"min": 3, "max": 255},
        "username-prohibited-characters": {},
        "up-username-not-idn-homograph": {},
    }
    person = {**length, "person-name-prohibited-characters": {}}
    attributes = [
        _declared("username", username),
        _declared("email", {"email": {}, **length}, required=True),
        _declared("firstName", person, required=True),
        _declared("lastName", person, required=True),
    ]
    group = {
        "name": "user-metadata",
        "displayHeader": "User metadata",
        "displayDescription": "Attributes, which refer to user metadata",
    }
    policy = {"unmanagedAttributePolicy": realm.unmanaged_attributes} if realm.unmanaged_attributes else {}
    return {"attributes": attributes, "groups": [group], **policy}


def validated(realm: Realm, body: Mapping[str, Any]) -> dict[str, Any]:
    """The profile in a body, as it is kept: names in lower case, and attributes only where the policy keeps them.

    Raises: Problem 400 naming the field.
    """
    found = {
        "username": str(body["username"]).lower(),
        "email": str(body["email"]).lower() if body.get("email") else None,
        "firstName": body.get("firstName"),
        "lastName": body.get("lastName"),
    }
    _check(found)
    attributes = body.get("attributes") or {}
    attributes = {name: values if isinstance(values, list) else [values] for name, values in attributes.items()}
    for name, values in attributes.items():
        if any(len(str(value)) > LONGEST for value in values):
            raise field(name, "error-invalid-length", 0, LONGEST)
    kept = attributes if realm.unmanaged_attributes in ("ADMIN_EDIT", "ENABLED") else {}
    return {**found, "attributes": {name: kept[name] for name in sorted(kept)}}


def _check(found: Mapping[str, str | None]) -> None:
    username, email = found["username"] or "", found["email"]
    if not 3 <= len(username) <= 255:
        raise field("username", "error-invalid-length", 3, 255)
    if _NOT_IN_USERNAMES.search(username):
        raise field("username", "error-username-invalid-character")
    if email is not None and not _EMAIL.fullmatch(email):
        raise field("email", "error-invalid-email", email)
    for name in ("firstName", "lastName"):
        value = found[name] or ""
        if len(value) > 255:
            raise field(name, "error-invalid-length", 0, 255)
        if _NOT_IN_NAMES.search(value):
            raise field(name, "error-person-name-invalid-character")


def _declared(name: str, validations: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "displayName": f"${{{name}}}",
        "validations": validations,
        **({"required": {"roles": ["user"]}} if required else {}),
        "permissions": _BOTH,
        "multivalued": False,
    }
