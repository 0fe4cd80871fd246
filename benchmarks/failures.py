"""What ends a measurement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.stack.failure import StackFailure


class NotDone(Exception):
    """Something did not go as it has to for a measurement to mean anything."""


@dataclass
class Attempts:
    """What could not be measured does not spoil the rest; it is told, and missing in the tables.

    Args: tell: hears of it. failed: whether something could not be measured so far.
    """

    tell: Callable[[str], None]
    failed: bool = False

    @contextmanager
    def one(self, what: str) -> Iterator[None]:
        """Something that may fail."""
        try:
            yield
        except (StackFailure, NotDone) as failure:
            self.tell(f"{what}: {failure}")
            self.failed = True
