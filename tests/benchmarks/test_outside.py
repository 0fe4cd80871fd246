"""Whose time it was: the arithmetic on recorded calls, and the recording itself."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks.failures import NotDone
from benchmarks.outside import Called, Shares, calls_of, shares
from benchmarks.timed_adapter import TimedAdapter
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.outcomes import Created, ObjectRef, Pending

THING = ObjectRef("s3", "bucket", "b", "b")


def called(operation: str, began: float, ended: float, *, pending: bool = False, key: str = "t:1:do:s") -> Called:
    return Called(key, operation, began, ended, pending)


def test_what_is_neither_inside_nor_waited_for_is_ours() -> None:
    calls = [
        called("ensure_bucket", 1, 2),
        called("apply", 3, 3.5, pending=True),
        called("apply", 5.5, 6, pending=True),
        called("apply", 7, 7.5),
        called("notify", 8, 8.25),
    ]

    found = shares(calls, 10, 9)

    assert found == Shares(total=10, calls=1 + 0.5 + 0.5 + 0.5 + 0.25, waits=2 + 1, confirmation=0.75)
    assert (found.outside, found.ours) == (6.5, 3.5)


def test_a_wait_is_between_looks_at_the_same_thing() -> None:
    calls = [
        called("apply", 0, 1, pending=True, key="t:1:do:a"),
        called("apply", 2, 3, key="t:1:do:b"),
        called("destroy", 4, 5, key="t:1:do:a"),
        called("notify", 6, 7),
    ]

    assert shares(calls, 10, 7).waits == 0


def test_a_confirmation_that_came_before_the_webhook_had_its_answer_took_no_time() -> None:
    assert shares([called("notify", 1, 2)], 3, 1.5).confirmation == 0


def test_without_the_calls_nothing_can_be_said() -> None:
    with pytest.raises(NotDone, match="not recorded"):
        shares([], 3, 1)


class Store:
    """An adapter."""

    def ensure_bucket(self, *, bucket: str, mark: Mark, call: Call) -> Created | Pending:
        if bucket == "late":
            raise DeadlinePassed
        return Created(THING) if bucket == "b" else Pending("being deleted", {"a": "1"}, 1)


def test_every_call_leaves_a_line_whatever_becomes_of_it(tmp_path: Path, call: Callable[..., Call], mark: Mark) -> None:
    file, tenant = tmp_path / "calls", uuid4()
    timed = TimedAdapter(Store(), file)
    ours = call(key=f"{tenant}:1:do:step")

    assert timed.ensure_bucket(bucket="b", mark=mark, call=ours) == Created(THING)
    assert isinstance(timed.ensure_bucket(bucket="other", mark=mark, call=ours), Pending)
    with pytest.raises(DeadlinePassed):
        timed.ensure_bucket(bucket="late", mark=mark, call=ours)
    timed.ensure_bucket(bucket="b", mark=mark, call=call(key=f"{uuid4()}:1:do:step"))

    lines = file.read_text().splitlines()
    found = calls_of(lines, tenant)
    assert [(one.operation, one.pending) for one in found] == [
        ("ensure_bucket", False),
        ("ensure_bucket", True),
        ("ensure_bucket", False),
    ]
    assert all(one.began <= one.ended for one in found)
    assert len(lines) == 4
    assert "b" not in {value for line in lines for value in json.loads(line).values()}  # no argument of any call
