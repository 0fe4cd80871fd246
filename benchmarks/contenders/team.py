"""A contender at work, and what every contender can do."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from benchmarks.contenders.client import Client
from benchmarks.contenders.lab import Lab
from benchmarks.usage import Roots

WORKERS = 2
"""Processes that carry out workflows, on every side."""


@dataclass(frozen=True, slots=True)
class Team:
    """Servers, workers and clients that run and answer.

    Args: parts: by name, the process that began the part.
    """

    clients: tuple[Client, ...]
    parts: Mapping[str, int]

    @property
    def client(self) -> Client:
        """The first of them."""
        return self.clients[0]

    def many(self, count: int) -> float:
        """Seconds for that many workflows at once, divided among the clients.

        Raises: NotDone.
        """
        share, rest = divmod(count, len(self.clients))
        for number, client in enumerate(self.clients):
            client.begin_many(share + (number < rest))
        return max(client.finish_many() for client in self.clients)

    @property
    def roots(self) -> Roots:
        """For `usage`."""
        return Roots(dict(self.parts), {})


class Contender(Protocol):
    """One side of the comparison."""

    @property
    def name(self) -> str:
        """As it is shown."""
        ...

    @property
    def stored(self) -> str:
        """Where its state is, for the reader."""
        ...

    def at_work(self, lab: Lab) -> AbstractContextManager[Team]:
        """Start everything that it needs, and end it when left.

        Raises: NotDone.
        """
        ...
