"""How Stripe words an error (Stripe API, Errors)."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that is answered with an error object.

    Args:
        status: the HTTP status.
        message: one sentence for people.
        code: Stripe's short word for programs, or None where it gives none.
        param: the parameter it is about, in the form of the request (`items[0][price]`), or None.
        type: the family of the error.
        more: further fields of the error object (`decline_code`).
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    type: str = "invalid_request_error"
    more: dict[str, str] = field(default_factory=dict[str, str])

    def body(self) -> dict[str, Any]:
        """The error object as it is sent."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, **self.more}
        if self.code is not None:
            error |= {
                "code": self.code,
                "doc_url": f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}",
            }
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def missing(what: str, key: str, param: str, status: int = 404) -> Refusal:
    """An id that names nothing: 404 when it stands in the path, 400 when it stands in a parameter."""
    return Refusal(status, f"No such {what}: '{key}'", "resource_missing", param)
