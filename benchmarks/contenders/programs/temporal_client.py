"""The client process. Argument: HOST:PORT of the server."""

import asyncio
import sys
import uuid

from temporalio.client import Client

from benchmarks.contenders.programs.answering import answer
from benchmarks.contenders.programs.temporal_workflow import QUEUE, STEPS, Provision


async def execute(client: Client) -> None:
    """One workflow, to its result."""
    taken = await client.execute_workflow(Provision.run, id=str(uuid.uuid4()), task_queue=QUEUE)
    if taken != STEPS:
        raise RuntimeError(f"took {taken} steps")


def main(address: str) -> None:
    """Answer."""
    with asyncio.Runner() as runner:
        client = runner.run(Client.connect(address))

        async def several(count: int) -> None:
            await asyncio.gather(*(execute(client) for _ in range(count)))

        answer(lambda: runner.run(execute(client)), lambda count: runner.run(several(count)))


if __name__ == "__main__":
    main(sys.argv[1])
