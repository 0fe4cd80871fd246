"""Where the demo's stack lives: `.local/demo`, wiped when a demo begins and kept when it has ended.

So the demo starts from nothing every time, and never touches the data of `make up`.
"""

import logging
import os
import shutil
from pathlib import Path

from dotenv import dotenv_values

from sandbox.stack import processes, programs
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import MODE, Folder, Lock, readable_errors
from sandbox.stack.log_lines import WORKFLOWS
from tenant_pipelines import logs


def fresh(above: Folder) -> Folder:
    """The demo's own folder below that of the usual stack, with nothing in it.

    Raises: StackFailure when a stack runs in either.
    """
    folder = Folder(above.local / "demo")
    for one, name in ((above, "A stack"), (folder, "A demo")):
        if (pid := Lock(one).holder()) is not None:
            raise StackFailure(f"{name} runs in {one.home} already (process {pid}). Way out: {_end(one, above)}")
        if left := processes.of_stack(one):
            raise StackFailure(
                f"{name} was left behind in {one.home} ({len(left)} processes). Way out: {_end(one, above)}"
            )
    with readable_errors(folder.home):
        _wipe(folder)
        for place in (above.local, folder.home):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(MODE)
    return folder


def _end(one: Folder, above: Folder) -> str:
    return "end it: make down" if one is above else f"end it: tenant-pipelines down --home {one.home}"


def _wipe(folder: Folder) -> None:
    for place in (_database(folder), folder.home):
        if place.exists():
            shutil.rmtree(place)


def _database(folder: Folder) -> Path:
    """Somewhere else than in the folder when that one is closed to PostgreSQL's account."""
    return programs.postgres_place(folder)


def move_in(folder: Folder) -> None:
    """Make this process one that works with the demo's stack, as its parts do: same folder, same settings, same log."""
    os.chdir(folder.home)
    os.environ.update({name: value or "" for name, value in dotenv_values(folder.dagster_env).items()})
    logger = logging.getLogger(logs.NAME)
    logger.addHandler(logging.FileHandler(folder.logs / WORKFLOWS))  # and not to stderr, across the progress bars
    logger.setLevel(logging.INFO)
    logger.propagate = False
