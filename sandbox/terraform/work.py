"""What a run hands to whoever carries it out, and what comes back."""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Counts = tuple[int, int, int]
"""How many resources are added, changed and destroyed."""

NONE: Counts = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Job:
    """One plan or apply.

    Args:
        run_id: the run's id, which names its working directory where one is needed.
        files: the configuration, path to text.
        variables: the workspace's Terraform variables.
        state: the current state, or None when there is none yet.
        destroy: whether everything is to be removed.
        half: whether the apply shall stop in the middle (the fault mode half_done).
    """

    run_id: str
    files: Mapping[str, str]
    variables: Mapping[str, str]
    state: Mapping[str, Any] | None
    destroy: bool = False
    half: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """What a plan found: its log and how many resources it would add, change and destroy."""

    log: str
    counts: Counts = NONE
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did, and the state it left; `state` is None when it left none."""

    log: str
    state: Mapping[str, Any] | None
    counts: Counts = NONE
    failed: bool = False


class Worker(Protocol):
    """Carries out plans and applies."""

    async def plan(self, job: Job) -> Planned:
        """What would change; a failure is part of the answer."""
        ...

    async def apply(self, job: Job) -> Applied:
        """Do what was planned; a failure is part of the answer."""
        ...

    def forget(self, run_id: str) -> None:
        """Clear away whatever was kept for a run that is final."""
        ...


class BadArchive(ValueError):
    """What was uploaded is no tar.gz of a configuration."""


def unpacked(archive: bytes) -> dict[str, str]:
    """The files of an uploaded configuration. Raises: BadArchive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            return dict(_text(tar, entry) for entry in tar if entry.isfile())
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError) as error:
        raise BadArchive("Failed to unpack the configuration") from error


def _text(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> tuple[str, str]:
    path = entry.name.removeprefix("./")
    if path.startswith("/") or ".." in path.split("/"):
        raise BadArchive(f"the path {path} leads out of the configuration")
    content = tar.extractfile(entry)
    return path, "" if content is None else content.read().decode()


def quota_message() -> str:
    """What the log of a half-done apply ends with."""
    return (
        "╷\n│ Error: creating compute: QuotaExceeded: the account's quota of compute instances is used up\n│ \n"
        "│ Request more of it, or remove what is not needed.\n╵"
    )
