"""Novu: triggers the notification workflows that mail a tenant's people (Novu API: Subscribers, Events, Idempotency).

Whether Novu sends twice what it is asked twice depends on two things, neither of them promised: the transaction id,
by which its worker drops a second event, and the idempotency key, which only some organizations have switched on.
Both are given; that a mail was sent is the engine's own record.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import httpx
import novu_py
from novu_py import models
from novu_py.models import TriggerEventResponseDtoStatus as Status
from novu_py.utils.logger import NoOpLogger

from tenant_pipelines.adapters.network import outage, retry_after
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    Validation,
)
from tenant_pipelines.domain.outcomes import AlreadyDone, Created, Ensured, ObjectRef
from tenant_pipelines.domain.tenant import Contact

SYSTEM = "Novu"

_NO_WORKFLOW = "workflow_not_found"
_SWITCHED_OFF = {Status.TRIGGER_NOT_ACTIVE, Status.NO_WORKFLOW_STEPS_DEFINED, Status.NO_WORKFLOW_ACTIVE_STEPS_DEFINED}
"""Novu takes such a trigger with 201 and sends nothing."""


@dataclass(frozen=True, slots=True)
class NovuAccess:
    """Where Novu is.

    Args:
        secret_key: the secret key of the environment (Novu: API keys).
        url: the API's address, without `/v1`; `https://eu.api.novu.co` for the EU region.
    """

    secret_key: str = field(repr=False)
    url: str = "https://api.novu.co"


class Novu:
    """Fulfils `domain.ports.Mailer`. Connects with the first mail; one object may serve several threads."""

    def __init__(self, access: NovuAccess) -> None:
        self._access = access

    def send(self, *, template: str, recipient: Contact, payload: Mapping[str, str], mark: Mark, call: Call) -> Ensured:
        """Trigger the workflow for one recipient; `call.key` is the transaction id: one key, one mail.

        Raises: InvalidConfiguration when Novu has no such workflow, or has it switched off.
        """
        subscriber = subscriber_id(mark, recipient.email)
        self._keep_subscriber(subscriber, recipient, mark, call)
        event = models.TriggerEventRequestDto(
            workflow_id=template, to=subscriber, payload=dict(payload), transaction_id=call.key
        )
        try:
            answer = self._trigger(event, _idempotency_key(event, call), call)
        except Failure as failure:
            if not _replayed(failure.__cause__):
                raise
            # Novu answers a key for a day with the error that it answered first: ask anew, the transaction id stays.
            answer = self._trigger(event, None, call)
        return _outcome(template, answer, call)

    def _keep_subscriber(self, subscriber: str, recipient: Contact, mark: Mark, call: Call) -> None:
        """Create the subscriber, or bring it up to date: Novu does either with the same request."""
        wanted = models.CreateSubscriberRequestDto(
            subscriber_id=subscriber,
            email=recipient.email,
            first_name=recipient.first_name,
            last_name=recipient.last_name,
            data=mark.labels(),
        )
        with self._asking(f"the subscriber for a mail to tenant {mark.tenant_key}"):
            self._client.subscribers.create(create_subscriber_request_dto=wanted, timeout_ms=_time(call))

    def _trigger(
        self, event: models.TriggerEventRequestDto, key: str | None, call: Call
    ) -> models.EventsControllerTriggerResponse:
        with self._asking(f"the notification {event.workflow_id}"):
            return self._client.trigger(trigger_event_request_dto=event, idempotency_key=key, timeout_ms=_time(call))

    @cached_property
    def _client(self) -> novu_py.Novu:
        return novu_py.Novu(
            secret_key=self._access.secret_key,
            server_url=self._access.url.rstrip("/"),
            retry_config=None,
            debug_logger=NoOpLogger(),  # the library's own writes requests with their Authorization header
        )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except models.NovuError as error:
            raise _failure(error, what) from error
        except httpx.TransportError as error:
            raise _unreachable(error, self._access.url) from error


def subscriber_id(mark: Mark, email: str) -> str:
    """The subscriber of a tenant's person, as the replaced system named it."""
    return f"tenant-{mark.tenant_id}-{re.sub('[^A-Za-z0-9]', '_', email)}"


def _time(call: Call) -> int:
    return max(1, int(call.before_write() * 1000))


def _idempotency_key(event: models.TriggerEventRequestDto, call: Call) -> str:
    """Another key for another body: Novu refuses (422) a key that comes with a body it did not come with first."""
    body = json.dumps(event.model_dump(mode="json", by_alias=True), sort_keys=True)
    return f"{call.key}:{hashlib.sha256(body.encode()).hexdigest()[:16]}"


def _outcome(template: str, answer: models.EventsControllerTriggerResponse, call: Call) -> Ensured:
    result = answer.result
    if result.status in _SWITCHED_OFF:
        what = f"has the workflow {template} switched off or without steps, and sent nothing ({result.status.value})"
        raise InvalidConfiguration(SYSTEM, what, way_out=f"Activate the workflow {template} in Novu")
    if result.status is Status.INVALID_RECIPIENTS:
        raise Validation(SYSTEM, f"does not accept the recipient of the notification {template}")
    if result.status is not Status.PROCESSED:
        raise Answered(SYSTEM, f"did not handle the notification {template} ({result.status.value})")
    ref = ObjectRef("novu", "notification", template, result.transaction_id or call.key)
    done = answer.headers.get("idempotency-replay") == ["true"]
    return AlreadyDone(ref) if done else Created(ref)


def _replayed(error: BaseException | None) -> bool:
    return isinstance(error, models.NovuError) and error.headers.get("Idempotency-Replay") == "true"


def _unreachable(error: httpx.TransportError, url: str) -> Failure:
    found = outage(SYSTEM, url, error)
    if found is not None:
        return found
    if isinstance(error, httpx.UnsupportedProtocol):
        return InvalidConfiguration(SYSTEM, "cannot be reached: its address is wrong", way_out=f"Check {url}")
    return Outage(SYSTEM, f"cannot be reached ({type(error).__name__})", lost=True)


def _failure(error: models.NovuError, what: str) -> Failure:
    """By status; the base class is caught, for a body that is not as described has a class of its own."""
    status = error.status_code
    if status == 429 or status >= 500:
        return Outage.status(SYSTEM, status, retry_after=retry_after(error.headers.get("Retry-After")))
    if status == 404 or _code(error) == _NO_WORKFLOW:
        way_out = "Create the workflow in Novu under exactly this identifier, or check Novu's address"
        return InvalidConfiguration(SYSTEM, f"knows nothing that would take {what} (HTTP {status})", way_out=way_out)
    if status == 401:
        way_out = "Set the secret key of the right Novu environment"
        return InvalidCredentials(SYSTEM, "answered 401 Unauthorized: the key is not accepted", way_out=way_out)
    return _answered(status, what)


def _answered(status: int, what: str) -> Failure:
    match status:
        case 403:
            return PermissionDenied(SYSTEM, f"does not allow our key {what} (HTTP 403)")
        case 409:
            return LockHeld(SYSTEM, f"is still working on {what} (HTTP 409)")
        case 400 | 422:
            way_out = "Compare the payload with what the workflow in Novu expects"
            return Validation(SYSTEM, f"does not accept {what} (HTTP {status})", way_out=way_out)
        case _:
            return Answered(SYSTEM, f"did not handle {what} as expected (HTTP {status})", lost=status < 400)


def _code(error: models.NovuError) -> str | None:
    """Novu's word for the error, where its `message` is a word and not a sentence."""
    try:
        body = json.loads(error.body)
    except ValueError:
        return None
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else None
