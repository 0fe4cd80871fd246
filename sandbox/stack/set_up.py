"""Makes databases, roles and the log bucket once their servers answer: `python -m sandbox.stack.set_up HOME`.

A program of its own, so that `up` does not carry for hours what is needed for a second.
"""

import asyncio
import sys
import time
from pathlib import Path

from sandbox.postgres import Server
from sandbox.stack import credentials, database, ports
from sandbox.stack.credentials import Credentials
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import Folder
from sandbox.stack.names import LOGS_BUCKET
from sandbox.stack.ports import Ports
from sandbox.stack.s3_health import S3

WAIT = 60.0
"""Seconds that S3 may take until it answers."""


async def ensure_logs_bucket(around: Ports, made: Credentials) -> None:
    """The bucket for what the ops print.

    Raises: StackFailure when S3 does not answer, or answers with an error.
    """
    s3 = S3(around.url("s3_server"), made.s3_operator_access_key, made.s3_operator_secret_key)
    deadline = time.monotonic() + WAIT
    while (status := await s3.status("PUT", f"/{LOGS_BUCKET}")) not in (200, 409):  # 409: there already, and ours
        if time.monotonic() > deadline:
            said = "did not answer" if status is None else f"answered {status}"
            raise StackFailure(f"S3 {said} when the bucket {LOGS_BUCKET} was made.")
        await asyncio.sleep(0.1)


async def _everything(folder: Folder) -> None:
    made, around = credentials.ensure(folder), ports.from_environment()
    server = Server(ports.HOST, around["postgres_server"], made.postgres_password)
    await asyncio.gather(asyncio.to_thread(database.set_up, server, made), ensure_logs_bucket(around, made))


def main() -> int:
    """Set up the stack of the folder that the first argument names."""
    try:
        asyncio.run(_everything(Folder(Path(sys.argv[1]))))
    except StackFailure as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
