"""Values that are made when they are first asked for: most runs need few of the outside systems."""

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Later(Generic[Value]):
    """Made by the first call, kept for the others; two threads get the same."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: list[Value] = []

    def __call__(self) -> Value:
        """The value."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


class LaterMapping(Mapping[str, Value]):
    """A mapping whose values are made when they are first asked for."""

    def __init__(self, values: Mapping[str, Later[Value]]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Value:
        return self._values[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
