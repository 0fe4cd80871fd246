"""What can go wrong with an outside system, in three families that decide what the engine does next.

* `Outage`: the system could not be reached or was not able to answer. Uses up no attempt.
* `Answered`: the system answered with an error that another try may cure. Uses up an attempt.
* `Permanent`: trying again cannot help; somebody has to change something first.

Adapters wrap every error of a client library into one of these at their own edge, by type and status code and
never by message text, with the cause chained. Nothing here may ever hold a secret.
Source: the contract, section Retries; the code of a failure is what operators see behind the message.
"""

from typing import ClassVar


class Failure(Exception):
    """An outside system did not do what a step asked of it.

    Args:
        system: the system's name as operators know it: Keycloak, PostgreSQL, S3, Terraform, Kubernetes, Docker,
            Stripe, Novu, DNS, App plane.
        what: one clause that names the object and the reason, without a full stop.
        way_out: what an operator can do about it, or None where the engine's advice is enough.
        lost: True when the request may have reached the system and may still take effect there, so that
            whatever carries our mark must be looked up once more later.
    """

    code: ClassVar[str] = "Failure"
    retried: ClassVar[bool] = False

    def __init__(self, system: str, what: str, *, way_out: str | None = None, lost: bool = False) -> None:
        super().__init__(f"{system} {what}")
        self.system = system
        self.what = what
        self.way_out = way_out
        self.lost = lost


class Outage(Failure):
    """Refused, timed out, 5xx or 429: retried until the step's time is over, and no attempt is used up.

    Args:
        retry_after: seconds the system asked us to wait (Retry-After), or None.
    """

    code = "Outage"
    retried = True

    def __init__(
        self,
        system: str,
        what: str,
        *,
        way_out: str | None = None,
        lost: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(system, what, way_out=way_out, lost=lost)
        self.retry_after = retry_after

    @classmethod
    def refused(cls, system: str, host: str, port: int) -> "Outage":
        """Nothing listens there: the request was never sent."""
        return cls(system, f"does not answer: Connection refused (ECONNREFUSED) {host}:{port}")

    @classmethod
    def dropped(cls, system: str, host: str, port: int) -> "Outage":
        """The connection was closed without an answer: the request may have been carried out."""
        what = f"closed the connection without an answer: Connection refused (ECONNREFUSED) {host}:{port}"
        return cls(system, what, lost=True)

    @classmethod
    def timed_out(cls, system: str, host: str, port: int, *, sent: bool = True) -> "Outage":
        """No answer in time; `sent` is False when not even a connection was made."""
        return cls(system, f"did not answer in time: Connection timeout (ETIMEDOUT) {host}:{port}", lost=sent)

    @classmethod
    def status(cls, system: str, status: int, *, retry_after: float | None = None) -> "Outage":
        """The system answered 429 or 5xx; a 5xx may have been carried out all the same."""
        word = "is rate limiting us" if status == 429 else "is not able to answer"
        return cls(system, f"{word} (HTTP {status})", lost=status != 429, retry_after=retry_after)


class Answered(Failure):
    """The system answered with an error that may pass: counted against the attempts of the step."""

    code = "SystemError"
    retried = True


class LockHeld(Answered):
    """Somebody else holds the object for the moment (a locked workspace, a concurrent update)."""

    code = "LockHeld"


class Permanent(Failure):
    """Never retried: the same call would fail in the same way."""

    code = "Permanent"


class InvalidConfiguration(Permanent):
    """Something that was set up is wrong or missing (a realm, a zone, an organization, a price)."""

    code = "InvalidConfiguration"


class InvalidCredentials(Permanent):
    """The system does not accept who we say we are (401). The credential itself is never shown."""

    code = "InvalidCredentials"


class PermissionDenied(Permanent):
    """The system knows us and does not allow this (403)."""

    code = "PermissionDenied"


class ResourceAlreadyExists(Permanent):
    """The name is taken by something that does not carry our mark; it is never touched."""

    code = "ResourceAlreadyExists"


class ResourceNotFound(Permanent):
    """Something the step builds on is not there."""

    code = "ResourceNotFound"


class Validation(Permanent):
    """The system, or we, found the input itself to be wrong (400, 422)."""

    code = "Validation"


class WebhookRejected(Permanent):
    """The app plane answered the webhook with a 4xx, or reported that it failed."""

    code = "WebhookRejected"


class InfrastructureFailed(Permanent):
    """A Terraform run ended errored; it is run again only by a restart."""

    code = "InfrastructureFailed"


class Unexpected(Answered):
    """A mistake of our own (or a library's): only its kind and place are told, since its text may hold anything."""

    code = "Unexpected"

    @classmethod
    def of(cls, error: Exception) -> "Unexpected":
        """The failure for an exception that no adapter has translated."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace else ""
        return cls("The step", f"ended with an unexpected {type(error).__name__}{place}")


class TimeIsUp(Failure):
    """The time for all attempts is over while the step was still waiting."""

    code = "Timeout"
