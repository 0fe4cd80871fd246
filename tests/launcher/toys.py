"""Definitions for a pool with real Dagster: what an op does is told by its name. They know no system and no ledger."""

import os
import time
from pathlib import Path

import dagster as dg


def _await(name: str) -> None:
    gate = Path(os.environ["TOYS_FOLDER"]) / name
    end = time.monotonic() + 60
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.005)


@dg.op(out=dg.Out(dg.Nothing))
def first() -> None:
    """Does nothing."""


@dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def second() -> None:
    """Does nothing."""


@dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def third() -> None:
    """Does nothing."""


@dg.op
def waits(context: dg.OpExecutionContext) -> None:
    """Until there is a file with the run's id."""
    (Path(os.environ["TOYS_FOLDER"]) / f"begun-{context.run_id}").write_text(str(os.getpid()))
    _await(context.run_id)


@dg.op
def fails() -> None:
    """Fails."""
    raise dg.Failure("as told", allow_retries=False)


@dg.resource
def cannot_begin(_: dg.InitResourceContext) -> None:
    """Fails before any op."""
    raise RuntimeError("as told")


@dg.op(required_resource_keys={"cannot_begin"})
def never() -> None:
    """Is never begun."""


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    """Three steps in a row."""
    third(second(first()))


@dg.job(executor_def=dg.in_process_executor)
def gated() -> None:
    """Waits."""
    waits()


@dg.job(executor_def=dg.in_process_executor)
def failing() -> None:
    """Fails."""
    fails()


@dg.job(executor_def=dg.in_process_executor, resource_defs={"cannot_begin": cannot_begin})
def broken() -> None:
    """Fails before its first op."""
    never()


defs = dg.Definitions(jobs=[quick, gated, failing, broken])
