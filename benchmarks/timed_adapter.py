"""Writes down when each call to an adapter began and ended."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.outcomes import Pending

CALLS = "TENANT_PIPELINES_BENCHMARK_CALLS"
"""The variable with the file's path; under this prefix the stack hands it on to its programs."""


class TimedAdapter:
    """Fulfils whatever port the adapter fulfils."""

    def __init__(self, adapter: object, file: Path) -> None:
        self._adapter = adapter
        self._file = file

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        perform = getattr(self._adapter, operation)

        def timed(*, call: Call, **arguments: object) -> object:
            pending = False
            began = time.time()
            try:
                answer = perform(call=call, **arguments)
                pending = isinstance(answer, Pending)
            finally:
                _note(self._file, call.key, operation, began, pending=pending)
            return answer

        return timed


def _note(file: Path, key: str, operation: str, began: float, *, pending: bool) -> None:
    line = {"key": key, "operation": operation, "began": began, "ended": time.time(), "pending": pending}
    with file.open("a") as out:  # one write of one line, which no other process's line gets into
        out.write(json.dumps(line) + "\n")
