"""A waker that does nothing but live."""

import os
from pathlib import Path

from tenant_pipelines.launcher.channel import Assignment, Channel


def main(channel: Channel, _: Assignment) -> None:
    """Until told to end."""
    channel.ready()
    channel.stopping.wait()
    with (Path(os.environ["LIGHT_FOLDER"]) / "log").open("a") as file:
        file.write("waker ended\n")
