"""The tenants that the demo makes, read from a file (`examples/tenants.yaml`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from sandbox.stack.failure import StackFailure

FIELDS = {
    "key": "key",
    "name": "name",
    "adminEmail": "admin_email",
    "adminFirstName": "admin_first_name",
    "adminLastName": "admin_last_name",
    "planId": "plan_id",
    "faults": "faults",
    "failsAt": "fails_at",
}
NEEDED = ("key", "name", "adminEmail", "planId")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One tenant of the file.

    Args:
        faults: what goes into the fault switch of each system, for this tenant only.
        fails_at: the step at which its provisioning has to fail; None when it has to succeed.
    """

    key: str
    name: str
    admin_email: str
    plan_id: str
    admin_first_name: str = ""
    admin_last_name: str = ""
    faults: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict[str, Any])
    fails_at: str | None = None


def read(file: Path) -> list[Wanted]:
    """The tenants in the order of the file.

    Raises: StackFailure when it is not there, or not of that form.
    """
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StackFailure(f"{file} cannot be read: {error}") from error
    listed = document.get("tenants") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed:
        raise StackFailure(f"{file} has no list `tenants`.")
    return [_wanted(file, number, one) for number, one in enumerate(listed, start=1)]


def _wanted(file: Path, number: int, given: object) -> Wanted:
    if not isinstance(given, dict):
        raise StackFailure(f"{file}: tenant {number} is not a mapping.")
    unknown, missing = sorted(map(str, set(given) - set(FIELDS))), [name for name in NEEDED if name not in given]
    if unknown or missing:
        wrong = [f"{name} is unknown" for name in unknown] + [f"{name} is missing" for name in missing]
        raise StackFailure(f"{file}: tenant {number}: {', '.join(wrong)}.")
    return Wanted(**{FIELDS[name]: value for name, value in given.items()})
