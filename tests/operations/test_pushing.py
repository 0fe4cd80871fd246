"""Lost rollback runs: how fast further ones follow. And what is said of what fails."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.domain.tenant import Tier
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.operations.pushing import said_of
from tenant_pipelines.operations.reconcile import Push, pauses, push_for
from tenant_pipelines.operations.runs import NotLaunched, RunState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOST = Execution(
    id=UUID(int=1),
    workflow_id="provision-tenant-1",
    workflow_type="provisionTenantWorkflow",
    tenant_id=UUID(int=2),
    tenant_key="acme",
    tier=Tier.POOLED,
    generation=1,
    state=State.ROLLING_BACK,
    run_id=UUID(int=3),
    step="provisioning_storage",
    progress=35,
    message="",
    started_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize(
    ("losses", "seconds"), [(0, 0), (1, 0), (2, 5), (3, 10), (4, 20), (7, 160), (8, 300), (1000, 300)]
)
def test_a_rollback_that_loses_run_after_run_waits_longer_and_longer(losses: int, seconds: float) -> None:
    lost = replace(LOST, losses=losses)

    assert pauses(lost, NOW + timedelta(seconds=seconds - 0.1)) is (seconds > 0)
    assert not pauses(lost, NOW + timedelta(seconds=seconds))
    assert push_for(lost, RunState.ENDED, NOW + timedelta(seconds=seconds)) is Push.CONTINUE


def test_it_is_left_alone_until_then() -> None:
    assert push_for(replace(LOST, losses=2), RunState.ENDED, NOW + timedelta(seconds=4)) is Push.NOTHING


def test_one_that_was_never_made_is_made_at_once_however_many_were_lost() -> None:
    assert push_for(replace(LOST, losses=9), RunState.MISSING, NOW) is Push.LAUNCH


def test_the_forward_side_is_never_kept_waiting() -> None:
    assert push_for(replace(LOST, state=State.FORWARD, losses=2), RunState.ENDED, NOW) is Push.CONTINUE


def test_only_our_own_words_are_repeated() -> None:
    said = said_of(
        ExceptionGroup(
            "two",
            [
                Refused(Code.UNAVAILABLE, "The ledger is away."),
                ConnectionError("fake-secret"),
                NotLaunched("run 1: X"),
                ConnectionError("fake-secret"),
            ],
        )
    )

    assert said == "ConnectionError; NotLaunched: run 1: X; Refused: The ledger is away."
