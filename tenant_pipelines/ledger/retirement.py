"""What retention may take of the ledger, and takes: each call is one transaction over a few rows that nobody holds.

The ledger of a living tenant is kept: every execution with its runs and steps, and all of the newest one of each
workflow, which is what restart, resume and undo go by. Of its older executions attempts, history and signals move to
the archive. The executions of a tenant that is DEPROVISIONED move there whole. An execution that is not closed, or of
which something is left behind that nobody has removed yet, is not touched; nor is the audit, ever.

Whatever is done is in the audit from the moment on in which it is done: one row in the same transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenant_pipelines.domain.retention import Kind
from tenant_pipelines.ledger.claims import Claimant, act
from tenant_pipelines.ledger.database import Database, Transaction
from tenant_pipelines.ledger.personal import COLUMNS, HIDDEN, redacted

Outcome = Literal["begun", "done"]
DETAILS = ("attempts", "history", "signals")
WHOLE = (*DETAILS, "steps", "owed", "left_behind", "runs", "executions")
"""In the order in which the foreign keys let them go."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row's place in the order of its table: a page begins after the last one's."""

    at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Closed:
    """What decides which part of a closed execution may go.

    Args: gone: its tenant is DEPROVISIONED. newest: of its workflow. needed: something of it is left behind.
    """

    id: UUID
    closed_at: datetime
    gone: bool
    newest: bool
    thinned: bool
    redacted: bool
    needed: bool

    @property
    def place(self) -> Place:
        """In the order of the closed ones."""
        return Place(self.closed_at, self.id)


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What closed before these moments is old enough; None: never. Args: details: of its rows in the ledger."""

    details: datetime | None
    personal: datetime | None

    @property
    def latest(self) -> datetime | None:
        """Nothing is due of what closed later."""
        return max((cutoff for cutoff in (self.details, self.personal) if cutoff), default=None)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done with executions: each a set of ids."""

    redact: frozenset[UUID] = frozenset()
    thin: frozenset[UUID] = frozenset()
    archive: frozenset[UUID] = frozenset()

    @property
    def ids(self) -> frozenset[UUID]:
        """Of all of them."""
        return self.redact | self.thin | self.archive

    def only(self, ids: Collection[UUID]) -> "Due":
        """The same, of these only."""
        wanted = frozenset(ids)
        return Due(self.redact & wanted, self.thin & wanted, self.archive & wanted)


def due_of(executions: Sequence[Closed], cutoffs: Cutoffs) -> Due:
    """The decision."""
    free = [one for one in executions if not one.needed and (one.gone or not one.newest)]
    old = [one for one in free if cutoffs.details and one.closed_at < cutoffs.details]
    personal = [one for one in free if cutoffs.personal and one.closed_at < cutoffs.personal]
    return Due(
        redact=frozenset(one.id for one in personal if not one.redacted),
        thin=frozenset(one.id for one in old if not one.gone and not one.thinned),
        archive=frozenset(one.id for one in old if one.gone),
    )


def counted(due: Due) -> Mapping[Kind, int]:
    """What of it is done to how many."""
    return {Kind.REDACTED: len(due.redact), Kind.THINNED: len(due.thin), Kind.ARCHIVED: len(due.archive)}


class Retirement:
    """Retention's part of the ledger. Reads have no lock; what is done is decided again under one.

    Args: by: whom the audit names.
    """

    def __init__(self, database: Database, *, by: Claimant) -> None:
        self._database = database
        self._by = by

    def closed(self, *, before: datetime, after: Place, limit: int) -> list[Closed]:
        """Closed executions, oldest end first."""
        rows = self._rows("closed_page", before=before, after_at=after.at, after_id=after.id, limit=limit)
        return [Closed(**row) for row in rows]

    def retire(self, ids: Collection[UUID], cutoffs: Cutoffs) -> Due:
        """Redact, thin and archive what is due of these; answers what was done."""

        def work(tx: Transaction) -> Due:
            held = [row["id"] for row in tx.all("lock_closed", ids=list(ids))]
            due = due_of([Closed(**row) for row in tx.all("closed_among", ids=held)], cutoffs)
            _redact(tx, due.redact)
            _archive(tx, due.thin, DETAILS, whole=False)
            tx.do("mark_thinned", ids=list(due.thin))
            _archive(tx, due.archive, WHOLE, whole=True)
            self._record(tx, counted(due))
            return due

        return self._database.run(work)

    def personal_documents(self, *, before: datetime, after: Place, limit: int) -> list[Place]:
        """Archived documents of executions that closed before then, with personal data in them."""
        return self._places("personal_documents", before=before, after=after, limit=limit)

    def redact_documents(self, ids: Collection[UUID]) -> int:
        """Hide the personal data in these; answers in how many."""

        def work(tx: Transaction) -> int:
            rows = tx.all("lock_documents", ids=list(ids))
            count = tx.do("rewrite_documents", ids=list(ids), documents=_hidden_in(rows)) if rows else 0
            return self._record(tx, {Kind.DOCUMENTS_REDACTED: count})

        return self._database.run(work)

    def old_documents(self, *, before: datetime, after: Place, limit: int) -> list[Place]:
        """Archived documents of executions that closed before then, of tenants that are gone."""
        return self._places("old_documents", before=before, after=after, limit=limit)

    def drop_documents(self, ids: Collection[UUID]) -> int:
        """Forget these for good; answers how many."""
        return self._done(Kind.DOCUMENTS_DROPPED, "drop_documents", ids)

    def people(self, *, before: datetime, after: Place, limit: int, planned: bool) -> list[Place]:
        """Tenants that have been gone since before then, and whose people are known from nowhere else any more.

        Args: planned: as it will be when all that is due before has been done.
        """
        text = f"{before:%Y-%m-%dT%H:%M:%S}.{before.microsecond // 1000:03}Z"
        more = {"before_text": text, "planned": planned, "hidden": HIDDEN}
        return self._places("people_to_forget", before=before, after=after, limit=limit, **more)

    def forget_people(self, ids: Collection[UUID]) -> int:
        """Redact the contacts of these tenants, and the error in their metadata; answers of how many."""

        def work(tx: Transaction) -> int:
            held = [row["id"] for row in tx.all("lock_gone_tenants", ids=list(ids))]
            tx.do("forget_people", ids=held, hidden=HIDDEN)
            tx.do("forget_errors", ids=held)
            return self._record(tx, {Kind.TENANTS_REDACTED: len(held)})

        return self._database.run(work)

    def old_launches(self, *, before: datetime, after: Place, limit: int) -> list[Place]:
        """Launches that ended before then."""
        return self._places("old_launches", before=before, after=after, limit=limit)

    def drop_launches(self, ids: Collection[UUID]) -> int:
        """Remove these; answers how many."""
        return self._done(Kind.LAUNCHES, "drop_launches", ids)

    def ends_of_runs(self, runs: Mapping[UUID, UUID | None]) -> dict[UUID, datetime | None]:
        """When the execution of each Dagster run has closed, None while it is open; nothing for an unknown run.

        Args: runs: with the execution that each run says it belongs to.
        """

        def work(tx: Transaction) -> dict[UUID, datetime | None]:
            known = {row["run_id"]: row["closed_at"] for row in tx.all("ends_of_runs", run_ids=list(runs))}
            said = {run: execution for run, execution in runs.items() if run not in known and execution}
            rows = tx.all("ends_of_archived", ids=list(set(said.values())))
            archived = {row["execution_id"]: row["closed_at"] for row in rows}
            return known | {run: archived[execution] for run, execution in said.items() if execution in archived}

        return self._database.run(work)

    def record(self, counts: Mapping[Kind, int], *, outcome: Outcome = "done") -> None:
        """Write into the audit what is done in another database, which no transaction of ours covers.

        Args: outcome: `begun` before it is done, so that a pass that dies meanwhile has told what it was about.
        """
        self._database.run(lambda tx: self._record(tx, counts, outcome))

    def _record(self, tx: Transaction, counts: Mapping[Kind, int], outcome: Outcome = "done") -> int:
        """Into the audit, unless nothing was done; answers how many things it was done to."""
        changes = {kind.value: count for kind, count in counts.items() if count}
        if changes or outcome == "begun":
            act(tx, self._by, "purge", outcome=outcome, changes=changes)
        return sum(changes.values())

    def _done(self, kind: Kind, query: str, ids: Collection[UUID]) -> int:
        return self._database.run(lambda tx: self._record(tx, {kind: tx.do(query, ids=list(ids))}))

    def _rows(self, query: str, **values: object) -> list[DictRow]:
        return self._database.run(lambda tx: tx.all(query, **values))

    def _places(self, query: str, *, after: Place, **values: object) -> list[Place]:
        return [Place(**row) for row in self._rows(query, after_at=after.at, after_id=after.id, **values)]


def _archive(tx: Transaction, ids: Collection[UUID], tables: Sequence[str], *, whole: bool) -> None:
    if not ids:
        return
    tx.do("archive_executions", ids=list(ids), whole=whole)
    for table in tables:
        tx.do(f"remove_{table}", ids=list(ids))


def _redact(tx: Transaction, ids: Collection[UUID]) -> None:
    if not ids:
        return
    documents = _hidden_in(tx.all("documents_of", ids=list(ids)))
    for table in COLUMNS:
        tx.do(f"rewrite_{'executions' if table == 'execution' else table}", ids=list(ids), documents=documents)
    tx.do("mark_redacted", ids=list(ids))


def _hidden_in(rows: Sequence[DictRow]) -> Jsonb:
    documents: list[dict[str, Any]] = [redacted(row["document"], row["people"]) for row in rows]
    return Jsonb(documents)
