"""What Keycloak refuses, by its status and without its text: some texts name another tenant's organization."""

from collections.abc import Iterator
from contextlib import contextmanager

from tenant_pipelines.adapters.keycloak.settings import SYSTEM
from tenant_pipelines.domain.call import DeadlinePassed
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    LockHeld,
    Outage,
    ResourceNotFound,
    Validation,
)


class Refusal(Exception):
    """An answer of 4xx or 5xx, 401 and 403 excepted.

    Args:
        status: HTTP status code.
        write: whether the request was to change something.
        retry_after: seconds Keycloak asked us to wait, or None.
        field: the name of the user's field that was not accepted, or None.
    """

    def __init__(self, status: int, *, write: bool, retry_after: float | None = None, field: str | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.write = write
        self.retry_after = retry_after
        self.field = field

    @property
    def unknown(self) -> bool:
        """Whether the request may have been carried out all the same: Keycloak answers a lost race with 500."""
        return self.write and self.status >= 500

    def failure(self, about: str) -> Failure:
        """The failure it is where nothing more can be said about the status; `about` names the object."""
        what = f"answered HTTP {self.status} about {about}"
        match self.status:
            case 400 | 422:
                return Validation(SYSTEM, f"{what} ({self.field})" if self.field else what)
            case 404:
                return ResourceNotFound(SYSTEM, what)
            case 423:
                return LockHeld(SYSTEM, what)
            case 429:
                return Outage.status(SYSTEM, 429, retry_after=self.retry_after)
            case status if status >= 500:
                outage = Outage.status(SYSTEM, status, retry_after=self.retry_after)
                outage.lost = self.write
                return outage
            case _:
                return Answered(SYSTEM, what)

    @contextmanager
    def looked_into(self) -> Iterator[None]:
        """A look-up that is to show what the refused request has done.

        When the look-up fails too, and the request may have been carried out, that stays the last word: the engine
        has to know that something may be there.
        """
        try:
            yield
        except (Refusal, Outage, DeadlinePassed) as error:
            if self.unknown:
                raise self from error
            raise
