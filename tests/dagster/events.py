"""What a run has left in its event log."""

from dagster import DagsterEventType, DagsterInstance


def steps_with(instance: DagsterInstance, run_id: str, kind: DagsterEventType) -> list[str | None]:
    """The step of each event of that kind."""
    return [record.step_key for record in instance.all_logs(run_id, of_type=kind)]


def text_of(instance: DagsterInstance, run_id: str) -> str:
    """Everything that was logged."""
    return "\n".join(record.user_message + record.message for record in instance.all_logs(run_id))
