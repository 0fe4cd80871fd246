"""The demo: what it shows, that it can fail, and that nothing of it is left however it ends."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import cast
from uuid import UUID

import httpx
import pytest
from rich.console import Console

from sandbox.demo import findings, home, memory, plan
from sandbox.demo.findings import Finding
from sandbox.demo.plan import Wanted
from sandbox.demo.proofs import Proofs, Wrong
from sandbox.demo.screen import Screen
from sandbox.demo.systems import NAMES, Systems
from sandbox.stack import processes
from sandbox.stack.failure import StackFailure
from sandbox.stack.folder import CHECKOUT, Folder, Lock
from tenant_pipelines.domain.outcomes import ObjectRef
from tenant_pipelines.domain.tenant import Contact, Status, Tenant, Tier
from tenant_pipelines.domain.workflow import Execution, State
from tests.stack.conftest import COMMAND, Stack, somewhere

EXAMPLES = CHECKOUT / "examples" / "tenants.yaml"
ONE = """
tenants:
  - {key: hooli, name: Hooli, adminEmail: gavin@hooli.example, planId: plan-basic}
"""
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ID = UUID(int=7)


# The whole of it, as a user runs it.


@dataclass
class Demo:
    """A demo in the background."""

    process: subprocess.Popen[str]
    said: str = ""

    def until(self, text: str) -> None:
        """Read what it says until it says this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text in line:
                return
        self.end()
        raise AssertionError(f"it never said {text!r}:\n{self.said}")

    def interrupt(self) -> int:
        """Ctrl-C, as the terminal sends it to all of the foreground; answers the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """The exit code."""
        rest, _ = self.process.communicate(timeout=180)
        self.said += rest
        return self.process.returncode


@pytest.fixture(scope="module")
def place() -> Iterator[Stack]:
    """Where the demos of this module run, one after the other: each begins from nothing."""
    with somewhere() as stack:
        yield Stack(Folder(stack.folder.local / "demo"), stack.offset)
        processes.end(Folder(stack.folder.local / "demo"), patience=0)


def _begin(place: Stack, *arguments: str) -> Demo:
    above = place.folder.home.parents[1]
    process = subprocess.Popen(
        [*COMMAND, "demo", "--home", str(above), *arguments],
        env=place.environment() | {"COLUMNS": "140"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return Demo(process)


@pytest.fixture(scope="module")
def done(place: Stack) -> Demo:
    """The demo of the example, at its end."""
    demo = _begin(place)
    demo.end()
    return demo


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_three_tenants_live_and_of_the_fourth_nothing_is_left(done: Demo, place: Stack) -> None:
    lines = done.said.splitlines()
    head = {key: [line for line in lines if line.startswith(f"{key}  ")] for key in ("acme", "globex", "initech")}

    assert done.process.returncode == 0, done.said
    assert all("ACTIVE" in one and f"https://{key}.localhost" in one for key, (one,) in head.items()), done.said
    (failed,) = (line for line in lines if line.startswith("umbrella  "))
    assert "PROVISION_FAILED" in failed
    assert "failed at provisioning_infrastructure" in failed
    assert "QuotaExceeded" in done.said
    after = lines[lines.index(failed) :]
    for name in NAMES.values():
        (row,) = (line for line in after if line.strip().startswith(f"{name} "))
        assert row.split()[-2:] == ["nothing", "nothing"]
    assert place.left == []


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_it_shows_how_far_each_tenant_is_and_how_the_rollback_ends(done: Demo) -> None:
    assert "waiting for a worker" in done.said
    assert "deploying_application" in done.said
    assert "PROVISION_FAILED at provisioning_infrastructure, rolled back" in done.said  # its steps may be too quick
    assert "no process is left" in done.said


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_ctrl_c_leaves_no_process_whenever_it_comes_and_the_next_demo_works(place: Stack, tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text(ONE)

    for moment in ("Starting the local stack", " %  ", "Stopping everything"):
        demo = _begin(place, "--tenants", str(one))
        demo.until(moment)
        assert demo.interrupt() == 130, demo.said
        assert place.left == [], moment
        assert "Traceback" not in demo.said

    assert "hooli  Hooli (pooled)  ACTIVE" in demo.said  # the last one had got to its end


# Its parts.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list"),
        ("tenants: []", "no list"),
        ("tenants: [acme]", "not a mapping"),
        ("tenants: [{key: acme}]", "name is missing, adminEmail is missing, planId is missing"),
        ("tenants: [{key: a1, name: A, adminEmail: a@b.example, planId: free, colour: red}]", "colour is unknown"),
        ("tenants: [", "cannot be read"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tenants.yaml").write_text(text)

    with pytest.raises(StackFailure, match=said):
        plan.read(tmp_path / "tenants.yaml")


def test_the_example_has_three_that_succeed_and_a_silo_tenant_that_fails() -> None:
    wanted = plan.read(EXAMPLES)

    assert [one.key for one in wanted if one.fails_at is None] == ["acme", "globex", "initech"]
    assert [(one.key, list(one.faults)) for one in wanted if one.fails_at] == [("umbrella", ["terraform"])]


def test_the_demo_begins_from_nothing_and_leaves_other_data_alone(folder: Folder) -> None:
    (folder.local / "kept").touch()
    first = home.fresh(folder)
    (first.home / "old").touch()

    assert home.fresh(folder) == first
    assert not (first.home / "old").exists()
    assert (folder.local / "kept").exists()


def test_a_stack_that_runs_here_is_named_with_the_way_out(folder: Folder) -> None:
    lock = Lock(folder)
    assert lock.take()
    try:
        with pytest.raises(StackFailure, match="make down"):
            home.fresh(folder)
    finally:
        lock.release()


def test_a_stack_that_was_left_behind_is_not_wiped(folder: Folder, sleeper: Callable[..., object]) -> None:
    first = home.fresh(folder)
    (first.home / "old").touch()
    sleeper(of=first)

    with pytest.raises(StackFailure, match="left behind"):
        home.fresh(folder)
    assert (first.home / "old").exists()


def test_memory_is_that_of_living_processes() -> None:
    mine = memory.taken([os.getpid()])

    assert 10 * 1024**2 < mine < 4 * 1024**3
    assert memory.taken([]) == 0
    assert memory.taken([os.getpid(), 2**22 + 1]) >= mine / 2


# The demo can fail: whatever differs from what must be is named.

WANTED = Wanted("acme", "Acme", "ada@acme.example", "plan-basic")
TENANT = Tenant(
    ID, "acme", "Acme", Status.ACTIVE, Tier.POOLED, ("acme.localhost",), (Contact("", "", "ada@acme.example", True),)
)
ENDED = Execution(
    id=ID,
    workflow_id=f"provision-tenant-{ID}",
    workflow_type="provisionTenantWorkflow",
    tenant_id=ID,
    tenant_key="acme",
    tier=Tier.POOLED,
    generation=1,
    state=State.COMPLETED,
    run_id=ID,
    step="completed",
    progress=100,
    message="Completed",
    started_at=NOW,
    updated_at=NOW,
    closed_at=NOW,
)
ALL = {
    "keycloak": ("organization", "user"),
    "postgres": ("schema", "role", "row"),
    "s3": ("bucket", "user"),
    "terraform": (),
    "kubernetes": ("namespace",),
    "docker": (),
    "dns": (),
    "stripe": ("customer", "subscription"),
}


class Told:
    """Systems, and proofs, that say what they are told to."""

    def __init__(self, marked: dict[str, Sequence[str]], mentioned: Sequence[str] = (), says: str = "well") -> None:
        self._marked = marked
        self._mentioned = mentioned
        self._says = says

    def by_mark(self, tenant: Tenant) -> dict[str, list[ObjectRef]]:
        return {
            system: [ObjectRef(system, kind, tenant.key, "id") for kind in kinds]
            for system, kinds in self._marked.items()
        }

    def by_key(self, key: str) -> dict[str, list[str]]:
        return {system: list(self._mentioned) if system == "s3" else [] for system in NAMES}

    def ask(self, system: str, *_: object) -> str:
        if system == "stripe" and self._says == "wrong":
            raise Wrong("subscription canceled")
        if system == "stripe" and self._says == "nothing":
            raise httpx.ReadTimeout("no answer")
        return self._says


def _living(told: Told, tenant: Tenant = TENANT) -> Finding:
    return findings.of_living(WANTED, tenant, ENDED, cast("Systems", told), cast("Proofs", told))


def _failed(
    told: Told, *, status: Status = Status.PROVISION_FAILED, step: str | None = "provisioning_storage"
) -> Finding:
    wanted = replace(WANTED, fails_at="provisioning_storage")
    ended = replace(ENDED, state=State.FAILED, failed_step=step, error="Failed\nWay out: none")
    return findings.of_failed(wanted, replace(TENANT, status=status), ended, cast("Systems", told), [])


def test_an_active_tenant_that_has_all_it_must_have_is_well() -> None:
    found = _living(Told(dict(ALL)))

    assert found.wrong == []
    assert [row.system for row in found.rows] == ["Keycloak", "PostgreSQL", "S3", "Kubernetes", "Stripe"]


@pytest.mark.parametrize(
    ("marked", "says", "status", "wrong"),
    [
        ({"s3": ("user",)}, "well", Status.ACTIVE, "S3: no bucket"),
        ({"dns": ("record",)}, "well", Status.ACTIVE, "DNS: record acme, which is not for tier pooled"),
        ({}, "wrong", Status.ACTIVE, "Stripe: subscription canceled"),
        ({}, "nothing", Status.ACTIVE, "Stripe: ReadTimeout"),
        ({}, "well", Status.PROVISION_FAILED, "the tenant is PROVISION_FAILED, not ACTIVE"),
    ],
)
def test_an_active_tenant_with_something_wrong(
    marked: dict[str, Sequence[str]], says: str, status: Status, wrong: str
) -> None:
    found = _living(Told({**ALL, **marked}, says=says), replace(TENANT, status=status))

    assert found.wrong == [wrong]


def test_a_failed_tenant_of_which_nothing_is_left_is_well() -> None:
    found = _failed(Told({}))

    assert found.wrong == []
    assert [row.system for row in found.rows] == list(NAMES.values())


def test_everything_that_is_left_of_a_failed_tenant_is_named() -> None:
    found = _failed(Told({"keycloak": ("user",)}, ["bucket tenant-acme"]))

    assert found.wrong == ["Keycloak: user acme is left", "S3: bucket tenant-acme is left"]


def test_a_tenant_that_had_to_fail_and_did_not_is_wrong() -> None:
    found = _failed(Told({}), status=Status.ACTIVE, step=None)

    assert found.wrong == [
        "the tenant is ACTIVE, not PROVISION_FAILED",
        "it failed at no step, not at provisioning_storage",
    ]


def test_the_bar_of_a_rollback_goes_back_and_keeps_its_name_while_the_system_is_waited_for() -> None:
    shown = StringIO()
    screen = Screen(Console(file=shown, width=120))
    back = replace(ENDED, state=State.ROLLING_BACK, closed_at=None, progress=45, failed_step="provisioning_storage")
    with screen.progress([WANTED]) as show:
        for message in ("Rolling back", "Rolling back: deprovisionTenantStorage", "Terraform run is planning"):
            show(replace(back, message=message))
        show(replace(back, state=State.FAILED, message="Failed"))

    assert [line.split(maxsplit=3)[1:] for line in shown.getvalue().splitlines()] == [
        ["45", "%", "provisioning_storage failed, rolling back"],
        ["35", "%", "rolling back: deprovisionTenantStorage"],
        ["0", "%", "PROVISION_FAILED at provisioning_storage, rolled back"],
    ]
