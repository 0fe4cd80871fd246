"""One pass of the retention: what is old enough leaves the ledger, the archive and Dagster, in small steps.

It goes through one kind of thing after the other, oldest first, a batch a transaction, and each batch is in the audit.
Nothing is remembered beside what is there: where a pass was stopped or killed, the next one goes on.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from tenant_pipelines.domain.clock import Clock
from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.domain.retention import Ages, Bounds, Kind, cutoff
from tenant_pipelines.ledger.retirement import Closed, Cutoffs, Due, Place, Retirement, counted, due_of
from tenant_pipelines.operations.retention import OldRuns, Report, may_go

BEGINNING = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
PAGE = 1000
"""Closed executions looked at in one statement, whether anything is due of them or not."""
ERRORS = 20
"""After so many a pass gives up: it is not about single things any more."""

Counts = Mapping[Kind, int]


def sweep(ledger: Retirement, runs: OldRuns, ages: Ages, bounds: Bounds, clock: Clock, *, dry: bool) -> Report:
    """Make one pass. One thing that cannot be done does not stop the others: it is told in the report.

    Args: dry: only count what a pass with these bounds would do.
    Raises: Refused UNAVAILABLE when the ledger's database is away.
    """
    return _Sweep(ledger, runs, ages, bounds, clock, dry).run()


class _Find(Protocol):
    def __call__(self, *, before: datetime, after: Place, limit: int) -> list[Place]: ...


@dataclass(slots=True)
class _Sweep:
    ledger: Retirement
    runs: OldRuns
    ages: Ages
    bounds: Bounds
    clock: Clock
    dry: bool
    counts: Counter[Kind] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def run(self) -> Report:
        """Every kind. In this order none finds more, or less, for what was done before it: a dry run counts right."""
        begun, now = self.clock.monotonic(), self.clock.now()
        finished = self._drain(self._dagster_runs(now), begun + self.bounds.seconds / 2)
        for part in self._parts(now):
            finished &= self._drain(part, begun + self.bounds.seconds)
        seconds = round(self.clock.monotonic() - begun, 3)
        return Report(dict(self.counts), finished and not self.errors, tuple(self.errors), seconds)

    def _drain(self, batches: Iterator[Counts], deadline: float) -> bool:
        """Take batches until there is none left (True), or a bound is reached."""
        while not self._full() and self.clock.monotonic() < deadline:
            batch = next(batches, None)
            if batch is None:
                return True
            self.counts.update(batch)
        return False

    def _full(self) -> bool:
        return self.counts.total() >= self.bounds.at_most or len(self.errors) >= ERRORS

    def _parts(self, now: datetime) -> Iterator[Iterator[Counts]]:
        ledger, ages = self.ledger, self.ages
        personal = cutoff(now, ages.personal_data)
        yield self._found(Kind.DOCUMENTS_REDACTED, personal, ledger.personal_documents, ledger.redact_documents)
        yield self._found(
            Kind.DOCUMENTS_DROPPED, cutoff(now, ages.archive), ledger.old_documents, ledger.drop_documents
        )
        yield self._executions(Cutoffs(details=cutoff(now, ages.executions), personal=personal))
        yield self._found(Kind.TENANTS_REDACTED, personal, self._people, ledger.forget_people)
        yield self._found(Kind.LAUNCHES, cutoff(now, ages.launches), ledger.old_launches, ledger.drop_launches)

    def _dagster_runs(self, now: datetime) -> Iterator[Counts]:
        before, after = cutoff(now, self.ages.dagster_runs), None
        while before and (page := self.runs.ended(before=before, after=after, limit=self.bounds.batch)):
            ends = self.ledger.ends_of_runs({run.id: run.execution_id for run in page})
            old = [run.id for run in page if may_go(run, ends, before)]
            gone = set[UUID]() if self.dry or not old else self._deleted(old)
            after = next((run.id for run in reversed(page) if run.id not in gone), after)
            yield {Kind.DAGSTER_RUNS: len(old if self.dry else gone)}

    def _deleted(self, old: Collection[UUID]) -> set[UUID]:
        """Delete these Dagster runs; the audit says it before and afterwards. Answers those that are gone."""
        self.ledger.record({Kind.DAGSTER_RUNS: len(old)}, outcome="begun")
        gone = {one for one in old if self._tried("Dagster run", self.runs.delete, one)}
        self.ledger.record({Kind.DAGSTER_RUNS: len(gone)})
        return gone

    def _executions(self, cutoffs: Cutoffs) -> Iterator[Counts]:
        before, after = cutoffs.latest, BEGINNING
        while before and (page := self.ledger.closed(before=before, after=after, limit=PAGE)):
            after = page[-1].place
            for due in self._batches_due(page, cutoffs):
                yield counted(due) if self.dry else self._retired(due, cutoffs)

    def _batches_due(self, page: Sequence[Closed], cutoffs: Cutoffs) -> Iterator[Due]:
        due = due_of(page, cutoffs)
        ids = [one.id for one in page if one.id in due.ids]
        for begin in range(0, len(ids), self.bounds.batch):
            yield due.only(ids[begin : begin + self.bounds.batch])

    def _retired(self, due: Due, cutoffs: Cutoffs) -> Counts:
        done = Counter[Kind]()

        def retire(ids: Collection[UUID]) -> int:
            done.update(counted(self.ledger.retire(ids, cutoffs)))
            return len(ids)

        self._together_or_one_by_one("execution", retire, due.ids)
        return done

    def _people(self, *, before: datetime, after: Place, limit: int) -> list[Place]:
        return self.ledger.people(before=before, after=after, limit=limit, planned=self.dry)

    def _found(
        self, kind: Kind, before: datetime | None, find: _Find, act: Callable[[Collection[UUID]], int]
    ) -> Iterator[Counts]:
        """Everything that is found is due."""
        after = BEGINNING
        while before and (page := find(before=before, after=after, limit=self.bounds.batch)):
            after = page[-1]
            ids = [place.id for place in page]
            yield {kind: len(ids) if self.dry else self._together_or_one_by_one(kind, act, ids)}

    def _together_or_one_by_one(self, what: str, act: Callable[[Collection[UUID]], int], ids: Collection[UUID]) -> int:
        """One that cannot be done must not hold up its batch, and all that come after it, for ever."""
        done: list[int] = []

        def alone(one: UUID) -> None:
            done.append(act([one]))

        try:
            return act(ids)
        except Refused:
            raise
        except Exception:
            for one in ids:
                self._tried(what, alone, one)
        return sum(done)

    def _tried(self, what: str, act: Callable[[UUID], None], one: UUID) -> bool:
        if len(self.errors) >= ERRORS:
            return False
        try:
            act(one)
        except Refused:
            raise
        except Exception as error:
            self.errors.append(f"{what} {one}: {type(error).__name__}")
            return False
        return True
