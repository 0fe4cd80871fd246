"""The command `tenant-pipelines`: every sub-command is mounted here; nothing heavy is imported before it is needed."""

import sys

import typer

from tenant_pipelines.cli import demo, purge, sandbox, stack, tenants, workers, workflows
from tenant_pipelines.cli.output import UNREACHABLE, Failed, err

app = typer.Typer(
    name="tenant-pipelines",
    help="Creates, repairs and removes the tenants of a SaaS company.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stack.mount(app)
app.command()(demo.demo)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(tenants.app, name="tenant")
app.add_typer(workflows.app, name="workflow")
app.command()(workers.workers)
app.command()(purge.purge)


def run() -> None:
    """Run the command line of this process and exit with the contract's code."""
    try:
        app()
    except Failed as failure:
        _say(str(failure))
        sys.exit(failure.code)
    except ConnectionError as error:
        _say(f"Not reachable: {error}")
        sys.exit(UNREACHABLE)


def _say(message: str) -> None:
    err.print(message, style="red", markup=False, soft_wrap=True)
