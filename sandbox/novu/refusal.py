"""How Novu words an error (Novu API: Errors)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that is answered with an error. `errors`: what is wrong with which field, of a 422."""

    status: int
    message: str
    errors: Mapping[str, str] | None = None

    def body(self, path: str, now: str) -> dict[str, Any]:
        """The error object as it is sent."""
        body: dict[str, Any] = {"statusCode": self.status, "timestamp": now, "path": path, "message": self.message}
        if self.errors is not None:
            body["errors"] = {name: {"messages": [text]} for name, text in self.errors.items()}
        return body


def invalid(name: str, text: str) -> Refusal:
    """A field that is not as it should be."""
    return Refusal(422, "Validation Error", {name: text})
