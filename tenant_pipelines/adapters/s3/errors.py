"""What S3 and IAM answer, as the failures of the domain. By exception type, status and error code, never by text.

Source: Amazon S3 API Reference, Error responses; AWS IAM API Reference, Common errors.
"""

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError, SSLError

from tenant_pipelines.adapters.network import outage, retry_after
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceNotFound,
    Validation,
)

SYSTEM = "S3"

_WRONG_CREDENTIALS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken", "InvalidToken"}
)
_TOO_FAST = frozenset({"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"})
_LOCKED = frozenset({"OperationAborted", "ConcurrentModification", "EntityTemporarilyUnmodifiable"})
_LIMITS = frozenset({"TooManyBuckets", "LimitExceeded"})


def code_of(error: ClientError) -> str:
    """The error code of the answer; empty where the server gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def failure(error: Exception, action: str, endpoint: str, *, wrote: bool) -> Failure:
    """The failure behind an error of boto3.

    Args:
        action: what was asked for, as CreateBucket.
        wrote: whether it was to change something, so that it may still take effect although no answer came.
    """
    made = _answered(error, action) if isinstance(error, ClientError) else _unanswered(error, action, endpoint)
    made.lost = made.lost and wrote
    return made


def _unanswered(error: Exception, action: str, endpoint: str) -> Failure:
    if (found := outage(SYSTEM, endpoint, error)) is not None:
        return found
    if isinstance(error, SSLError):
        return InvalidConfiguration(SYSTEM, "has a certificate that is not trusted here")
    if isinstance(error, ParamValidationError):
        return Validation(SYSTEM, f"cannot be asked for {action} with these values")
    if isinstance(error, BotoCoreError):
        return Answered(SYSTEM, f"gave an answer to {action} that cannot be understood ({type(error).__name__})")
    raise error


def _answered(error: ClientError, action: str) -> Failure:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = code_of(error)
    said = f"{action} ({code or f'HTTP {status}'})"
    return _outage(error, status, code) or _by_code(code, said) or _by_status(status, action, said)


def _outage(error: ClientError, status: int, code: str) -> Outage | None:
    headers: dict[str, str] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    wait = retry_after(headers.get("retry-after"))
    if status == 429 or code in _TOO_FAST:
        return Outage.status(SYSTEM, 429, retry_after=wait)
    if status >= 500 and status != 501:
        return Outage.status(SYSTEM, status, retry_after=wait)
    return None


def _by_code(code: str, said: str) -> Failure | None:
    if code in _WRONG_CREDENTIALS:
        return _wrong_credentials()
    if code in _LOCKED:
        return LockHeld(SYSTEM, f"is changing the same object for somebody else: {said}")
    if code == "RequestTimeTooSkewed":
        way_out = "set this machine's clock, or that of S3"
        return InvalidConfiguration(SYSTEM, "sees a clock that is more than 15 minutes off", way_out=way_out)
    if code in _LIMITS:
        way_out = "raise the limit of the account, or remove what nobody needs"
        return InvalidConfiguration(SYSTEM, f"has reached a limit of the account: {said}", way_out=way_out)
    return None


def _by_status(status: int, action: str, said: str) -> Failure:
    match status:
        case 401:
            return _wrong_credentials()
        case 403:
            way_out = f"allow {action} to the identity that the product signs with"
            return PermissionDenied(SYSTEM, f"does not allow us {said}", way_out=way_out)
        case 404:
            return ResourceNotFound(SYSTEM, f"lacks what {said} is about")
        case 400 | 422:
            return Validation(SYSTEM, f"does not accept {said}")
        case 501:
            return InvalidConfiguration(SYSTEM, f"does not implement {said}")
        case _:
            return Answered(SYSTEM, f"answered {said}")


def _wrong_credentials() -> InvalidCredentials:
    way_out = "give the product a valid access key and secret key for S3"
    return InvalidCredentials(SYSTEM, "does not accept our credentials: 401 Unauthorized", way_out=way_out)
