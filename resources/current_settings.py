"""The settings as they are when a run begins."""

import contextlib
import os
from pathlib import Path

from tenant_pipelines import settings


class CurrentSettings:
    """Reads the settings again only when something has changed that they are read from: it takes some milliseconds."""

    def __init__(self) -> None:
        self._last: tuple[object, settings.Settings] | None = None

    def read(self) -> settings.Settings:
        """The settings as `settings.load` would read them now. Raises: InvalidSettings."""
        source = _source()  # first: what changes from here on is seen the next time
        if self._last is None or self._last[0] != source:
            self._last = (source, settings.load())
        return self._last[1]


def _source() -> object:
    """The environment, and every file that there is, as of its last change."""
    secrets = os.environ.get(f"{settings.PREFIX}SECRETS_DIR")
    files = [Path(name) for name in settings.ENV_FILES]
    with contextlib.suppress(OSError):  # `settings.load` says what is wrong with it
        files += sorted(Path(secrets).iterdir()) if secrets else []
    return dict(os.environ), [(file, _as_of(file)) for file in files]


def _as_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
