"""Why an operation is not carried out. A refusal changes nothing, and says what would be allowed.

Source: the contract, Operating a workflow: each code has its REST status, gRPC status and exit code.
"""

from enum import StrEnum


class Code(StrEnum):
    """The kind of refusal: the same word at every door."""

    NOT_FOUND = "NOT_FOUND"
    WRONG_STATE = "WRONG_STATE"
    BUSY = "BUSY"
    KEY_TAKEN = "KEY_TAKEN"
    DOMAIN_TAKEN = "DOMAIN_TAKEN"
    RESERVED = "RESERVED"
    INVALID = "INVALID"
    UNAVAILABLE = "UNAVAILABLE"


class Refused(Exception):
    """The operation, or the run, may not act.

    Args:
        code: the kind.
        message: a full sentence: what is refused, why, and what would be allowed.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
