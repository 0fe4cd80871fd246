"""A worker process. Argument: HOST:PORT of the server. Says `ready` when it polls, and ends with SIGTERM."""

import asyncio
import signal
import sys

from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.contenders.programs.temporal_workflow import QUEUE, Provision, step


async def work(address: str) -> None:
    """Until told to stop."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    client = await Client.connect(address)
    async with Worker(client, task_queue=QUEUE, workflows=[Provision], activities=[step]):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await over.wait()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
