"""A client process of the comparison: a JSON object a line tells it what to do, and it answers with one.

Only the standard library: it is imported in every environment.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping

One = Callable[[], object]
Many = Callable[[int], object]


def answer(one: One, many: Many, others: Mapping[str, Callable[..., object]] | None = None) -> None:
    """Do what is asked until nobody asks any more; says `{"ready": true}` first.

    Args:
        one: carries out one workflow and returns when its result is known here. many: that many at once.
        others: further commands by name, each called with the fields of the question; they answer a JSON value.
    """
    more = dict(others or {})
    _say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        what = asked.pop("do")
        try:
            if what == "one":
                _say({"seconds": _timed(one)})
            elif what == "many":
                _say({"seconds": _timed(lambda: many(asked["count"]))})  # noqa: B023 - called at once
            else:
                _say({"answer": more[what](**asked)})
        except Exception as error:
            _say({"error": f"{type(error).__name__}: {error}"})


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    took = work()
    return took if isinstance(took, float) else time.perf_counter() - began


def _say(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
