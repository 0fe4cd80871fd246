"""The client of a contender, a process of its own: it is told what to do over a pipe, and measures the time itself."""

import json
import os
import select
import subprocess
from dataclasses import dataclass
from typing import IO, Any

from benchmarks.failures import NotDone

PATIENCE = 600.0
"""Seconds after which a client counts as stuck."""


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks with `contenders.programs.answering`. Args: name: of the contender, for errors."""

    name: str
    process: subprocess.Popen[bytes]

    def wait_until_ready(self) -> None:
        """Return when it is connected to its server.

        Raises: NotDone.
        """
        self._read("its start")

    def one(self) -> float:
        """Seconds from the call to the knowledge of the result.

        Raises: NotDone.
        """
        return float(self._ask("one")["seconds"])

    def many(self, count: int) -> float:
        """Seconds until the results of all are known.

        Raises: NotDone.
        """
        return float(self._ask("many", count=count)["seconds"])

    def ask(self, what: str, **fields: object) -> Any:  # noqa: ANN401 - whatever JSON can say
        """The answer to a command that only this contender's client knows.

        Raises: NotDone.
        """
        return self._ask(what, **fields)["answer"]

    def begin_many(self, count: int) -> None:
        """The first half of `many`, for several clients at once."""
        self._write("many", count=count)

    def finish_many(self) -> float:
        """The second half."""
        return float(self._read("many")["seconds"])

    def _ask(self, what: str, **fields: object) -> dict[str, Any]:
        self._write(what, **fields)
        return self._read(what)

    def _write(self, what: str, **fields: object) -> None:
        line = json.dumps({"do": what, **fields}).encode() + b"\n"
        try:
            os.write(self._pipe(self.process.stdin), line)
        except BrokenPipeError as error:
            raise NotDone(f"the client of {self.name} has ended before {what}") from error

    def _read(self, what: str) -> dict[str, Any]:
        readable, _, _ = select.select([self._pipe(self.process.stdout)], [], [], PATIENCE)
        line = self.process.stdout.readline() if readable and self.process.stdout else b""
        if not line:
            how = "has ended" if readable else f"does not answer for {PATIENCE:.0f} s"
            raise NotDone(f"the client of {self.name} {how} ({what})")
        answered: dict[str, Any] = json.loads(line)
        if "error" in answered:
            raise NotDone(f"{self.name}, {what}: {answered['error']}")
        return answered

    @staticmethod
    def _pipe(end: IO[bytes] | None) -> int:
        if end is None:
            raise ValueError("a client is spoken to over pipes")
        return end.fileno()
