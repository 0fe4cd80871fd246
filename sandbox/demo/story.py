"""The demo from the moment at which its stack is up: what it does, and what it has to tell in the end."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sandbox.demo import findings, work
from sandbox.demo.findings import Finding
from sandbox.demo.plan import Wanted
from sandbox.demo.proofs import Proofs
from sandbox.demo.screen import Screen
from sandbox.demo.systems import Systems
from sandbox.stack import credentials
from sandbox.stack.up import Stack
from tenant_pipelines import settings
from tenant_pipelines.domain.workflow import Execution
from tenant_pipelines.operations.operations import Desk

Phase = Callable[[str], AbstractContextManager[None]]
"""Takes the time of a part of the demo."""

OpenDesk = Callable[[], AbstractContextManager[Desk]]


@dataclass(frozen=True, slots=True)
class Story:
    """One demo.

    Args:
        wanted: its tenants.
        open_desk: opens the desk at which tenants are created and started.
        screen: where it shows.
        halted: set when the demo is to stop.
    """

    wanted: Sequence[Wanted]
    open_desk: OpenDesk
    screen: Screen
    halted: threading.Event

    def play(self, stack: Stack, phase: Phase) -> list[Finding]:
        """Provision every tenant at once, follow them, and look at what there is then.

        Raises: StackFailure, work.Halted.
        """
        work.arm(self.wanted, stack.document)
        with self.open_desk() as desk:
            given = settings.load()
            with phase("tenants"), self.screen.progress(self.wanted) as show:
                # What is to fail goes first: with its rollback it takes the longest.
                first = sorted(self.wanted, key=lambda one: one.fails_at is None)
                begun = [work.begin(desk, one, given.plans) for one in first]
                ended = work.follow(desk, begun, show, self.halted)
            with phase("read back"), self.screen.busy("Reading back what exists, from the systems themselves"):
                return self._look(desk, ended, Systems(given, desk.ledger.database, stack.document), stack)

    def _look(self, desk: Desk, ended: Sequence[Execution], systems: Systems, stack: Stack) -> list[Finding]:
        by_key = {execution.tenant_key: execution for execution in ended}
        proofs = Proofs(stack.around, credentials.ensure(stack.folder))
        try:
            return [self._look_at(desk, one, by_key[one.key], systems, proofs) for one in self.wanted]
        finally:
            proofs.close()

    def _look_at(self, desk: Desk, one: Wanted, execution: Execution, systems: Systems, proofs: Proofs) -> Finding:
        if self.halted.is_set():
            raise work.Halted
        tenant = desk.ledger.tenant(execution.tenant_id)
        if one.fails_at is None:
            return findings.of_living(one, tenant, execution, systems, proofs)
        return findings.of_failed(one, tenant, execution, systems, desk.ledger.left_behind(tenant.id))
