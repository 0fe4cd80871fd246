"""Plans, retries, and what a failure is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_pipelines.domain.call import Call, DeadlinePassed
from tenant_pipelines.domain.failures import Answered, Outage, Permanent, Unexpected, Validation
from tenant_pipelines.domain.plans import TIER_OF_PLAN, tier_of
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.retries import RETRIES, Group
from tenant_pipelines.domain.tenant import Tier

CONTRACT = """
identity           3   10    120    300    600
infrastructure     3   30    300   1800   2700
deployment         5   15    180    900   1800
database           5    1     30    120    300
storage            3    5     60    120    300
billing            3    5     60    120    300
dns                5    5     60     60    600
backup             3   60    600  14400  43200
notification       3    2     30     30    120
webhook            5    5     60     60    180
"""
"""group, attempts, first wait, longest wait, one attempt, all attempts; seconds."""


def test_the_retry_table_is_the_contracts() -> None:
    ours = [
        [group, r.attempts, r.first_wait, r.longest_wait, r.one_attempt, r.all_attempts, r.factor]
        for group, r in RETRIES.items()
    ]
    rows = (line.split() for line in CONTRACT.strip().splitlines())

    assert ours == [[row[0], *map(float, row[1:]), 2.0] for row in rows]
    assert set(RETRIES) == set(Group)


@given(st.sampled_from(list(Group)), st.integers(2, 5000))
def test_waits_grow_and_are_never_longer_than_the_longest(group: Group, attempt: int) -> None:
    policy = RETRIES[group]

    assert policy.first_wait <= policy.wait_before(attempt) <= policy.wait_before(attempt + 1) <= policy.longest_wait
    assert policy.wait_before(2) == policy.first_wait


@pytest.mark.parametrize("prefix", ["", "plan-"])
def test_plans(prefix: str) -> None:
    tiers = {plan: tier_of(prefix + plan, TIER_OF_PLAN) for plan in TIER_OF_PLAN}

    assert {plan for plan, tier in tiers.items() if tier is Tier.SILO} == {"enterprise", "dedicated"}
    assert {plan for plan, tier in tiers.items() if tier is Tier.BRIDGE} == {"hybrid"}
    assert len(tiers) == 9


@pytest.mark.parametrize("plan", ["", "plan-", "plan-plan-free", "Free", "gold"])
def test_any_other_plan_is_refused(plan: str) -> None:
    with pytest.raises(Refused):
        tier_of(plan, TIER_OF_PLAN)


def test_what_is_tried_again() -> None:
    assert Outage.refused("S3", "h", 1).retried
    assert Answered("S3", "said no").retried
    assert not Permanent("S3", "said no").retried
    assert not Validation("S3", "said no").retried


def test_a_call_that_was_never_sent_is_not_lost() -> None:
    assert not Outage.refused("S3", "h", 1).lost
    assert not Outage.timed_out("S3", "h", 1, sent=False).lost
    assert not Outage.status("S3", 429, retry_after=3).lost
    assert Outage.timed_out("S3", "h", 1).lost
    assert Outage.status("S3", 503).lost
    assert Outage.dropped("S3", "h", 1).lost


def test_a_mistake_of_our_own_tells_its_place_and_not_its_words() -> None:
    def mistaken() -> None:
        raise KeyError("password=hunter2")

    try:
        mistaken()
    except KeyError as error:
        failure = Unexpected.of(error)

    assert "hunter2" not in str(failure)
    assert "unexpected KeyError in mistaken, line" in str(failure)


def test_a_calls_time_ends_before_it_is_made_and_not_after() -> None:
    now = [100.0]
    asked: list[float] = []
    call = Call("key", deadline=110.0, fence=lambda: asked.append(now[0]), clock=lambda: now[0])

    assert (call.seconds_left(), call.seconds_left(at_most=3)) == (10, 3)
    assert asked == []
    assert call.before_write() == 10
    now[0] = 110.0
    with pytest.raises(DeadlinePassed):
        call.before_write()
    assert asked == [100.0, 110.0]
