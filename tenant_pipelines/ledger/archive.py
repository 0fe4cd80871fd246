"""What there is to read in the archive: executions that have left the ledger, and the history of those thinned."""

from uuid import UUID

from psycopg.rows import DictRow

from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.ledger.database import Database
from tenant_pipelines.ledger.rows import execution_of


class Archive:
    """Reads only; `Retirement` fills it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def execution(self, workflow_id: str, run_id: UUID | None = None) -> Execution | None:
        """The newest archived execution of the workflow, or the one with that run id."""
        known = workflow_id.replace("\0", "")  # which no text in PostgreSQL holds
        row = self._database.run(lambda tx: tx.one("archived_execution", workflow_id=known, run_id=run_id))
        return execution_of(row) if row else None

    def executions(self, *, tenant_id: UUID | None = None, limit: int = 50, offset: int = 0) -> list[Execution]:
        """Archived executions, newest first."""
        rows = self._database.run(
            lambda tx: tx.all("archived_executions", tenant_id=tenant_id, limit=limit, offset=offset)
        )
        return [execution_of(row) for row in rows]

    def history(self, execution_id: UUID, *, limit: int = 1000, offset: int = 0) -> list[DictRow]:
        """The events of an execution that is archived, or thinned, in their order."""
        return self._database.run(
            lambda tx: tx.all("archived_history", execution_id=execution_id, limit=limit, offset=offset)
        )
