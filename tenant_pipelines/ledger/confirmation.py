"""The wait for the app plane: one signal ends it, or its time does; a late one clears the mark that stays."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.failures import WebhookRejected
from tenant_pipelines.domain.workflow import Side, State, StepState
from tenant_pipelines.ledger import endings
from tenant_pipelines.ledger.claims import remember
from tenant_pipelines.ledger.database import Transaction
from tenant_pipelines.ledger.steps import fail_step
from tenant_pipelines.saga.wording import then


class Received(StrEnum):
    """What a signal came to."""

    COMPLETED = "completed"
    FAILED = "failed"
    EARLY = "early"
    """Kept until the step waits for it."""
    LATE = "late"
    """The workflow had ended without it: the pending mark is cleared."""
    NO_EFFECT = "no_effect"


def await_confirmation(tx: Transaction, execution: DictRow, step: str, signal: str, seconds: float) -> None:
    """The step waits from now on; a signal that was faster ends it at once, and so does a cancel."""
    tx.do("owe", tenant_id=execution["tenant_id"], step=step, execution_id=execution["id"])
    early = tx.one("first_signal", execution_id=execution["id"], name=signal)
    if early is not None:
        settle(tx, execution, step, early["payload"])
    elif execution["cancel_requested_at"] is not None:
        endings.cancel_past_pivot(tx, execution, [step])
    else:
        tx.do("await_signal", id=execution["id"], seconds=seconds, message=f"Waiting for the signal {signal}")


def receive(tx: Transaction, execution: DictRow, step: str, payload: Mapping[str, Any]) -> Received:
    """A signal that has just been recorded; the execution is locked."""
    row = tx.one("step_of", execution_id=execution["id"], side=Side.DO, step=step)
    state = State(execution["state"])
    if state is State.FORWARD:
        if row is None or row["state"] != StepState.WAITING or execution["waiting_until"] is None:
            return Received.EARLY
        return settle(tx, execution, step, payload)
    if state in {State.COMPLETED, State.CANCELLED} and payload["success"]:
        settled = tx.one("settle_owed", tenant_id=execution["tenant_id"], step=step)
        if settled is not None:
            _step_done(tx, execution, step)
            return Received.LATE
    return Received.NO_EFFECT


def settle(tx: Transaction, execution: DictRow, step: str, payload: Mapping[str, Any]) -> Received:
    """The confirmation is here and waited for: the workflow ends with it."""
    if payload["success"]:
        tx.do("settle_owed", tenant_id=execution["tenant_id"], step=step)
        _step_done(tx, execution, step)
        endings.complete(tx, execution)
        return Received.COMPLETED
    said = str(payload.get("error") or "no reason given")[:300]
    error = (
        f"Failed to provision the app plane: App plane reported a failure: {said} "
        f"({WebhookRejected.code}, not retried).\n"
        f"Way out: mend what it reports\nThen: {then(execution['tenant_key'], active=True)}"
    )
    fail_step(tx, execution["id"], Side.DO, step, state=StepState.FAILED, error=error, code=WebhookRejected.code)
    endings.fail_past_pivot(tx, execution, step=step, error=error, code=WebhookRejected.code)
    return Received.FAILED


def expire(tx: Transaction, execution: DictRow, step: str) -> None:
    """Nobody confirmed in time: the workflow completes, and the confirmation stays visible as pending."""
    late = "appPlaneProvisioned did not come in time"
    fail_step(tx, execution["id"], Side.DO, step, state=StepState.OWED, error=late, code="Pending")
    remember(tx, execution, "TimerFired", step=step)
    endings.complete(tx, execution)


def _step_done(tx: Transaction, execution: DictRow, step: str) -> None:
    tx.do(
        "finish_step",
        execution_id=execution["id"],
        side=Side.DO.value,
        step=step,
        state=StepState.DONE.value,
        facts={},
        found=Jsonb([]),
    )
