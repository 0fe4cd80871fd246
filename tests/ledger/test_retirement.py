"""The decision of what may leave the ledger, for every kind of closed execution."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_pipelines.ledger.retirement import Closed, Cutoffs, due_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ID = UUID(int=1)


def closed(days: float, **facts: bool) -> Closed:
    """An execution that closed so many days ago. Args: facts: those that hold."""
    known = {"gone": False, "newest": False, "thinned": False, "redacted": False, "needed": False} | facts
    return Closed(id=ID, closed_at=NOW - timedelta(days=days), **known)


def cutoffs(details: float | None, personal: float | None) -> Cutoffs:
    """In days."""
    return Cutoffs(*(None if days is None else NOW - timedelta(days=days) for days in (details, personal)))


@pytest.mark.parametrize(
    ("execution", "expected"),
    [
        (closed(100), {"thin"}),
        (closed(100, newest=True), set()),
        (closed(100, thinned=True), set()),
        (closed(100, needed=True), set()),
        (closed(100, gone=True), {"archive"}),
        (closed(100, gone=True, newest=True), {"archive"}),
        (closed(100, gone=True, newest=True, thinned=True), {"archive"}),
        (closed(100, gone=True, needed=True), set()),
        (closed(400), {"thin", "redact"}),
        (closed(400, thinned=True), {"redact"}),
        (closed(400, thinned=True, redacted=True), set()),
        (closed(400, newest=True), set()),
        (closed(400, gone=True), {"archive", "redact"}),
        (closed(400, gone=True, needed=True), set()),
        (closed(89, gone=True), set()),
    ],
)
def test_what_is_due(execution: Closed, expected: set[str]) -> None:
    due = due_of([execution], cutoffs(90, 365))

    assert {name for name in ("redact", "thin", "archive") if getattr(due, name)} == expected


def test_what_is_kept_for_ever() -> None:
    assert due_of([closed(9999, gone=True)], cutoffs(None, None)).ids == frozenset()
    assert due_of([closed(9999, gone=True)], cutoffs(None, 1)).archive == frozenset()
    assert due_of([closed(9999, gone=True)], cutoffs(1, None)).redact == frozenset()
    assert cutoffs(None, None).latest is None
    assert cutoffs(None, 3).latest == NOW - timedelta(days=3)


@given(
    days=st.floats(0, 1000),
    facts=st.fixed_dictionaries({name: st.booleans() for name in ("gone", "newest", "thinned", "redacted", "needed")}),
    limits=st.tuples(st.none() | st.floats(1, 900), st.none() | st.floats(1, 900)),
)
def test_rules_that_hold_for_everything(
    days: float, facts: dict[str, bool], limits: tuple[float | None, float | None]
) -> None:
    execution, limit = closed(days, **facts), cutoffs(*limits)
    due = due_of([execution], limit)

    if due.ids:
        assert limit.latest
        assert execution.closed_at < limit.latest
        assert not execution.needed
        assert execution.gone or not execution.newest
    assert not (due.thin and due.archive)
    if due.archive:
        assert execution.gone
