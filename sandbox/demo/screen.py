"""How the demo shows on a terminal; where there is none, as a line for each change."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sandbox.demo.plan import Wanted
from sandbox.stack.up import Notice, Ready
from tenant_pipelines.domain.workflow import Execution, State
from tenant_pipelines.provisioning.catalogue import PROVISIONING

if TYPE_CHECKING:
    from sandbox.demo.findings import Finding, Row

ROLLING_BACK = "Rolling back: "

_UNDONE = {step.name for step in PROVISIONING.before_pivot}
_PERCENT = {step.undo_activity: step.percent for step in PROVISIONING.before_pivot}

LONGEST_NAME = 24
"""Characters of an object's name that are shown; --json has all of it."""

Show = Callable[[Execution], None]


class Screen:
    """Writes to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """One line, with rich's markup."""
        self._console.print(text, soft_wrap=True)

    @contextmanager
    def busy(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show that something goes on; what is handed over replaces the text, where there is a terminal."""
        if self._console.is_terminal:
            with self._console.status(what) as status:
                yield status.update
        else:
            self.say(f"{what} …")
            yield lambda _: None

    @contextmanager
    def starting(self) -> Iterator[Callable[[Notice], None]]:
        """Name the parts of the stack as they get ready."""
        ready: list[str] = []
        with self.busy("Starting the local stack") as update:

            def tell(notice: Notice) -> None:
                if isinstance(notice, Ready):
                    ready.append(notice.part)
                    update(f"Starting the local stack; ready: {', '.join(ready)}")

            yield tell

    @contextmanager
    def progress(self, tenants: Sequence[Wanted]) -> Iterator[Show]:
        """Show how far each tenant is: a bar each."""
        course = _Course()
        if not self._console.is_terminal:
            yield partial(self._line, course, {})
            return
        columns = (
            TextColumn("  [bold]{task.description:<10}"),
            _Bar(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[now]}"),
        )
        with Progress(*columns, console=self._console, refresh_per_second=8) as progress:
            tasks = {
                one.key: progress.add_task(one.key, total=100, now="waiting for a worker", colour="cyan")
                for one in tenants
            }

            def show(execution: Execution) -> None:
                done, colour, now = course.of(execution)
                progress.update(tasks[execution.tenant_key], completed=done, colour=colour, now=f"[{colour}]{now}")

            yield show

    def _line(self, course: "_Course", last: dict[str, str], execution: Execution) -> None:
        """Progress for a log: a line when something has changed."""
        done, _, now = course.of(execution)
        line = f"  {execution.tenant_key:<10} {done:3} %  {now}"
        if last.get(execution.tenant_key) != line:
            last[execution.tenant_key] = line
            self.say(line)

    def findings(self, found: "Sequence[Finding]") -> None:
        """What exists and where, then what was rolled back."""
        for one in found:
            self._console.print()
            (self._living if one.wanted.fails_at is None else self._failed)(one)

    def wrong(self, found: Sequence[str]) -> None:
        """Everything that is not as it must be."""
        self._console.print()
        for said in found:
            self._console.print(f"WRONG  {said}", style="bold red", markup=False, soft_wrap=True)

    def _living(self, one: "Finding") -> None:
        where = one.tenant.metadata.get("appPlaneUrl", "")
        self.say(f"{_head(one, 'green')}  {where}")
        table = Table(box=None, pad_edge=False, show_header=False)  # what there is, and what it says of itself
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(overflow="fold", style="green")
        for row in one.rows:
            table.add_row(row.system, ", ".join(map(_short, row.objects)), row.proof)
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def _failed(self, one: "Finding") -> None:
        self.say(f"{_head(one, 'red')}  failed at [red]{one.execution.failed_step}")
        first = (one.execution.error or "").splitlines()[:1]
        self._console.print(Padding(Text("".join(first), style="red"), (0, 0, 0, 2)))
        self.say("  [dim]Rolled back. What is left of it, in every system:")
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("", style="cyan", no_wrap=True)
        table.add_column("with our mark", overflow="fold")
        table.add_column("with its name", overflow="fold")
        for row in one.rows:
            table.add_row(row.system, *_left(row))
        self._console.print(Padding(table, (0, 0, 0, 2)))


class _Bar(BarColumn):
    """A bar in the colour of its task."""

    def render(self, task: Task) -> ProgressBar:
        """The bar."""
        bar = super().render(task)
        bar.style = "grey23"
        bar.complete_style = bar.finished_style = task.fields["colour"]
        return bar


class _Course:
    """What the bars say. A rollback empties a bar again, step by step."""

    def __init__(self) -> None:
        self._undo: dict[str, str] = {}

    def of(self, execution: Execution) -> tuple[int, str, str]:
        """How full the bar is, its colour, and the words beside it."""
        match execution.state:
            case State.COMPLETED:
                return 100, "green", "ACTIVE"
            case State.FORWARD:
                return execution.progress, "cyan", execution.step or "waiting for a worker"
            case State.ROLLBACK_DUE | State.ROLLING_BACK:
                return self._back(execution)
            case State.FAILED if execution.failed_step in _UNDONE:
                return 0, "red", f"PROVISION_FAILED at {execution.failed_step}, rolled back"
            case _:
                return execution.progress, "red", f"{execution.state.word} at {execution.failed_step or execution.step}"

    def _back(self, execution: Execution) -> tuple[int, str, str]:
        """While an undo side waits for its system, the message says for what; its name is shown on."""
        if execution.message.startswith(ROLLING_BACK):
            self._undo[execution.tenant_key] = execution.message.removeprefix(ROLLING_BACK)
        undo = self._undo.get(execution.tenant_key)
        if undo is None:
            return execution.progress, "yellow", f"{execution.failed_step} failed, rolling back"
        return _PERCENT.get(undo, execution.progress), "yellow", f"rolling back: {undo}"


def _head(one: "Finding", colour: str) -> str:
    status = f"[bold {colour}]{one.tenant.status.name}[/]"
    return f"[bold]{one.tenant.key}[/]  {one.tenant.name} ({one.tenant.tier})  {status}  {one.seconds:.1f} s"


def _short(named: str) -> str:
    kind, _, name = named.partition(" ")
    return named if len(name) <= LONGEST_NAME else f"{kind} {name[: LONGEST_NAME - 1]}…"


def _left(row: "Row") -> tuple[str, str]:
    marked, mentioned = (", ".join(found) or "[green]nothing[/]" for found in (row.objects, row.mentioned))
    return marked, mentioned
