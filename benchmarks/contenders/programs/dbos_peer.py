"""DBOS is a library: this process is client and worker in one. Arguments: the database's URL, and its own name."""

import sys

from dbos import DBOS

from benchmarks.contenders.programs.answering import answer

STEPS = 14


@DBOS.step()  # type: ignore[untyped-decorator]
def step(number: int) -> int:
    """Nothing."""
    return number


@DBOS.workflow()  # type: ignore[untyped-decorator]
def provision() -> int:
    """Fourteen of them."""
    for number in range(STEPS):
        step(number)
    return STEPS


def many(count: int) -> None:
    """That many at once, each to its result."""
    handles = [DBOS.start_workflow(provision) for _ in range(count)]
    for handle in handles:
        handle.get_result()


def main(url: str, name: str) -> None:
    """Answer."""
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": url,
            "executor_id": name,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        answer(lambda: DBOS.start_workflow(provision).get_result(), many)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
