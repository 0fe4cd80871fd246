"""The one shape of every error (the contract, REST)."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from tenant_pipelines.domain.refusals import Code, Refused

STATUS = {
    Code.NOT_FOUND: (404, "NotFound"),
    Code.WRONG_STATE: (400, "BadRequest"),
    Code.BUSY: (409, "Conflict"),
    Code.KEY_TAKEN: (409, "Conflict"),
    Code.DOMAIN_TAKEN: (409, "Conflict"),
    Code.RESERVED: (403, "Forbidden"),
    Code.INVALID: (422, "UnprocessableEntity"),
    Code.UNAVAILABLE: (503, "ServiceUnavailable"),
}


def refuse(refused: Refused) -> Response:
    """A refusal of the operations."""
    status, name = STATUS[refused.code]
    return answer(status, name, refused.code.value, refused.message)


def answer(status: int, name: str, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error; `message` names no host and no port."""
    error = {"statusCode": status, "name": name, "message": message, "code": code, "details": []}
    return JSONResponse({"error": error}, status_code=status, headers=headers)
