"""Step 9's records going wrong: they are in the engine's own database, whose every other call has to go right."""

from collections.abc import Callable, Sequence

from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Outage
from tenant_pipelines.domain.outcomes import Ensured, ObjectRef, Removal
from tenant_pipelines.domain.ports import Records, ResourceRow


class BrokenRecords:
    """Fulfils `Records`. Each `ensure_resources` goes wrong in one of the modes of the fault switch."""

    def __init__(self, records: Records, mode: str) -> None:
        self._records = records
        self._mode = mode
        self._late: list[Callable[[], object]] = []
        self.broken = 0

    def ensure_resources(self, *, rows: Sequence[ResourceRow], mark: Mark, call: Call) -> Sequence[Ensured]:
        self.broken += 1
        match self._mode:
            case "server_error":
                raise Outage("PostgreSQL", "is not able to serve us (SQLSTATE 57P03)")
            case "half_done":  # one transaction: a part of it cannot be had, but other rows than the wanted ones can
                self._records.ensure_resources(rows=rows[:1], mark=mark, call=call)
            case "timeout_after":
                self._records.ensure_resources(rows=rows, mark=mark, call=call)
            case "late_effect":
                self._late.append(lambda: self._records.ensure_resources(rows=rows, mark=mark, call=_unfenced(call)))
        raise Outage.timed_out("PostgreSQL", "127.0.0.1", 5432)

    def remove_resources(self, *, mark: Mark, call: Call) -> Sequence[Removal]:
        """What is late lands right after the undo has looked."""
        removals = self._records.remove_resources(mark=mark, call=call)
        while self._late:
            self._late.pop()()
        return removals

    def find(self, *, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        return self._records.find(mark=mark, call=call)


def _unfenced(call: Call) -> Call:
    """A statement that has left us asks nobody any more."""
    return Call(key=call.key, deadline=call.clock() + 30, fence=lambda: None, clock=call.clock)
