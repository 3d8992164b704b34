"""The `undying` command: its subcommands, and what a failure looks like to the one who typed it.

A failure that has a name (the taxonomy's, the runtime's, the system's) is one line on stderr and exit code 1. Anything else
is a defect, and keeps its traceback.
"""

from __future__ import annotations

import sys

import typer

from actors.runtime import RuntimeFault
from undying.cli import manage
from undying.cli.chaos.command import chaos
from undying.cli.demo.command import demo
from undying.cli.drain import drain, restart
from undying.cli.quarantine import quarantine
from undying.cli.serve import serve
from undying.protocol.errors import UndyingError

app = typer.Typer(
    name="undying",
    help="A realtime server for tabletop role-playing tables that never lose a session.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(manage.new)
app.command()(manage.invite)
app.command()(manage.status)
app.command()(drain)
app.command()(restart)
app.add_typer(quarantine, name="quarantine")
app.command()(demo)
app.command()(chaos)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except UndyingError as problem:
        sys.exit(f"undying: {problem.failure.message} ({problem.failure.code})")
    except (RuntimeFault, OSError) as problem:
        sys.exit(f"undying: {str(problem) or type(problem).__name__}")


if __name__ == "__main__":
    main()
