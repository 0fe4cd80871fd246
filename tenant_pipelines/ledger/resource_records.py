"""The port Records on the ledger's own database: each call is one transaction, so nothing is ever half done."""

from collections.abc import Sequence

from psycopg.rows import DictRow

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.outcomes import Adopted, Created, Ensured, NothingToRemove, ObjectRef, Removal, Removed
from tenant_pipelines.domain.ports import ResourceRow
from tenant_pipelines.domain.refusals import Code, Refused
from tenant_pipelines.ledger.database import Answer, Database, Transaction, Work

SYSTEM = "postgres"


class ResourceRecords:
    """The rows of `tenant_management.resources`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ensure_resources(self, *, rows: Sequence[ResourceRow], mark: Mark, call: Call) -> Sequence[Ensured]:
        """Exactly these rows: missing ones are added, others removed."""

        def work(tx: Transaction) -> list[Ensured]:
            kept = [f"{row.type} {row.external_identifier}" for row in rows]
            tx.do("delete_other_resources", tenant_id=mark.tenant_id, kept=kept)
            return [self._upsert(tx, row, mark) for row in rows]

        call.before_write()
        return self._run(work)

    def remove_resources(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        """Every row of the tenant."""
        call.before_write()
        gone = self._run(lambda tx: tx.all("delete_resources", tenant_id=mark.tenant_id))
        if not gone:
            return [NothingToRemove(ObjectRef(SYSTEM, "row", "tenant_management.resources", mark.tenant_id))]
        return [Removed(_ref(row)) for row in gone]

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The rows that are there."""
        call.seconds_left()
        return [_ref(row) for row in self._run(lambda tx: tx.all("resources_of", tenant_id=mark.tenant_id))]

    def _run(self, work: Work[Answer]) -> Answer:
        """As every adapter: an outage is an Outage."""
        try:
            return self._database.run(work)
        except Refused as refused:
            if refused.code is not Code.UNAVAILABLE:
                raise
            raise Outage("PostgreSQL", self._database.away()) from refused

    @staticmethod
    def _upsert(tx: Transaction, row: ResourceRow, mark: Mark) -> Ensured:
        stored = tx.only(
            "upsert_resource",
            tenant_id=mark.tenant_id,
            type=row.type,
            external_identifier=row.external_identifier,
            metadata=dict(row.metadata),
        )
        ref = ObjectRef(SYSTEM, "row", f"{row.type} {row.external_identifier}", str(stored["id"]))
        return Created(ref) if stored["created"] else Adopted(ref)


def _ref(row: DictRow) -> ObjectRef:
    return ObjectRef(SYSTEM, "row", f"{row['type']} {row['external_identifier']}", str(row["id"]))
