"""The one exception that the stack shows to people."""


class StackFailure(Exception):
    """The stack cannot do what was asked; the message says what, why, and the way out.

    Args:
        message: for people; no secret in it.
        reachable: False when the reason is that the stack, or a part of it, does not answer (exit code 3).
    """

    def __init__(self, message: str, *, reachable: bool = True) -> None:
        super().__init__(message)
        self.reachable = reachable


class UnknownPart(StackFailure):
    """There is no part of that name (exit code 2)."""
