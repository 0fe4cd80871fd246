"""`tenant-pipelines workers`: the pool, in the place of this process."""

import os
import sys
from typing import Annotated

import typer


def workers(
    size: Annotated[int | None, typer.Option(help="How many workers (default: the setting `workers`).")] = None,
    definitions: Annotated[str | None, typer.Option(hidden=True, help="Another module with definitions.")] = None,
) -> None:
    """Keep warm workers for Dagster's runs, in the foreground, until Ctrl-C or SIGTERM; SIGHUP loads the code anew."""
    given = {"--size": size, "--definitions": definitions}
    options = [f"{name}={value}" for name, value in given.items() if value is not None]
    # Nothing of the command line is to be in the memory of every worker.
    os.execv(sys.executable, [sys.executable, "-m", "tenant_pipelines.launcher", *options])  # noqa: S606
