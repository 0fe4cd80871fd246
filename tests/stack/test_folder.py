"""The folder of a stack: rights, room, lock."""

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import Folder, Lock, readable_errors, write_private


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_only_we_can_read_what_is_in_it(folder: Folder) -> None:
    for place in (folder.run, folder.logs, folder.sandbox, folder.dagster_home):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.local.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_full_disk_is_said_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1024 * 1024))

    with pytest.raises(StackFailure, match=r"The disk is full: 1 MiB are free .* 300 MiB are needed.*make room"):
        Folder(tmp_path).prepare()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file, where the folder should be")

    with pytest.raises(StackFailure, match=r"\.local"):
        Folder(tmp_path).prepare()


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "give .* to the user"), (errno.EROFS, "cannot be written")],
)
def test_what_the_system_refuses_is_put_in_words(tmp_path: Path, number: int, said: str) -> None:
    with pytest.raises(StackFailure, match=said), readable_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "file"))


def test_a_written_file_is_private_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("the one before")

    write_private(file, "the new one")

    assert file.read_text() == "the new one"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_sockets_go_elsewhere_when_the_path_is_too_long_for_them(tmp_path: Path) -> None:
    near, far = Folder(Path("/srv/x")), Folder(tmp_path / ("deep" * 30))

    assert near.sockets == near.run
    assert len(str(far.sockets)) < 80
    assert far.sockets != Folder(tmp_path / ("other" * 30)).sockets


def test_one_lock_at_a_time(folder: Folder) -> None:
    first, second = Lock(folder), Lock(folder)

    assert first.take()
    assert not second.take()
    assert second.holder() == os.getpid()
    first.release()
    assert second.holder() is None
    assert second.take()
    second.release()
