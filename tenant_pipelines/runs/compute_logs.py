"""What a run prints, kept for Dagster's UI without a process of its own.

Dagster captures a run's output by starting four processes for it (a `tail` and a watcher for each stream), two of them
Python: about 35 ms of a run that takes 150 altogether. Here the output goes to the same files, and a thread repeats it
where it would have gone.
"""

import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

REPEAT_EVERY = 0.25
"""Seconds after which what was printed shows where it would have gone without us."""
_COMPLETE = "complete"
"""Dagster's ending of the file that says that all has been captured."""
_AT_ONCE = 64 * 1024


class LocalComputeLogs(LocalComputeLogManager):
    """Keeps the output in files; for one run at a time, as the streams are those of the whole process."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "LocalComputeLogs":
        """As Dagster makes it."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Whatever the process prints, a library written in C included."""
        with ExitStack() as stack:
            for stream, kind in ((sys.stdout, ComputeIOType.STDOUT), (sys.stderr, ComputeIOType.STDERR)):
                path = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                stack.enter_context(_captured(stream, path))
            yield CapturedLogContext(log_key)
        Path(self.get_captured_local_path(log_key, _COMPLETE)).touch()


class S3ComputeLogs(S3ComputeLogManager):
    """Dagster's own for S3, with that way to capture; the same configuration."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Dagster has it
        super().__init__(*args, **kwargs)
        self._local_manager = LocalComputeLogs(self._local_manager._base_dir)  # noqa: SLF001


@contextmanager
def _captured(stream: TextIO, path: Path) -> Iterator[None]:
    number = _number_of(stream)
    if number is None:  # not a file at all: somebody holds it in memory
        yield
        return
    stream.flush()
    before = os.dup(number)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, number)
    os.close(file)
    mirror = _Mirror(path, before)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(before, number)
        mirror.close()
        os.close(before)


def _number_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return None


class _Mirror:
    """Repeats what is written to a file.

    Args: to: the number of an open file.
    """

    def __init__(self, path: Path, to: int) -> None:
        self._file = path.open("rb")
        self._to = to
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=f"mirror-{path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Repeat what is left."""
        self._closed.set()
        self._thread.join()
        self._file.close()

    def _repeat(self) -> None:
        while not self._closed.wait(REPEAT_EVERY):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        while part := self._file.read(_AT_ONCE):
            _write_all(self._to, part)


def _write_all(to: int, part: bytes) -> None:
    while part:
        try:
            part = part[os.write(to, part) :]
        except OSError:  # nobody reads there any longer: the file has it
            return
