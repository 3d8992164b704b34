"""`undying new`, `undying invite`, `undying status`: what people ask of a running server.

With `--json` exactly one document goes to stdout. What fails is said on stderr, exit code 1; a wrong command line is 2.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from undying.cli import tree
from undying.cli.management import Management
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError
from undying.protocol.ids import ID_PATTERN, Role, is_id, parse_role

WATCH_S: Final = 0.5
"""How often `status --watch` looks."""

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="UNDYING_URL", help="Base url of the server; else the one in the data directory."),
]
DataDirectory = Annotated[
    Path, typer.Option("--data-dir", envvar="UNDYING_DATA_DIR", help="Data directory of the server.", file_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TOKEN_VARIABLE: Final = "UNDYING_ADMIN_TOKEN"
DEFAULT_DATA_DIR: Final = Path(".undying")


def new(
    name: Annotated[str, typer.Argument(help="Name of the table.")],
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Open a table, and get the token of its game master."""
    made = find(url, data_dir).create_session(name)
    _show(made, as_json, ("session", "gm_token", "url"))


def invite(
    session: Annotated[str, typer.Argument(help="Id of the session, as `undying new` printed it.")],
    role: Annotated[str, typer.Option("--role", help="gm, player, spectator or agent.")],
    name: Annotated[str, typer.Option("--name", help="What the others call them.")],
    user: Annotated[str | None, typer.Option("--user", help="User id; a new one when not given.")] = None,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make a token for somebody to join a table with."""
    _require_id(session, "SESSION")
    if user is not None:
        _require_id(user, "--user")
    made = find(url, data_dir).invite(session, _role(role), name, user)
    _show(made, as_json, ("token", "user", "url"))


def status(
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is alive in the server, and under whom."""
    if watch and as_json:
        raise typer.BadParameter("--watch keeps printing and --json prints one document: choose one")
    server = find(url, data_dir)
    if watch:
        _watch(server)
    elif as_json:
        print(json.dumps(server.status()))
    else:
        Console().print(tree.table(server.status()))


def find(url: str | None, data_dir: Path) -> Management:
    """Find the server. The token has a variable and no option, which would show in the list of processes."""
    return Management.find(url, data_dir, os.environ.get(TOKEN_VARIABLE))


def _watch(server: Management) -> None:
    """Draw again and again. A server that is away for a moment is what this is for: it says so and goes on."""
    drawn: RenderableType = tree.table(server.status())
    try:
        with Live(drawn, auto_refresh=False) as live:
            while True:
                live.update(drawn, refresh=True)
                time.sleep(WATCH_S)
                drawn = _look(server)
    except KeyboardInterrupt:
        return


def _look(server: Management) -> RenderableType:
    try:
        return tree.table(server.status())
    except UndyingError as problem:
        if problem.failure.code in (Code.NOT_AUTHENTICATED, Code.FORBIDDEN):
            raise
        return Text(problem.failure.message, style="bold red")


def _show(made: JsonObject, as_json: bool, keys: tuple[str, ...]) -> None:
    if as_json:
        print(json.dumps(made))
        return
    for key in keys:
        if key in made:
            print(f"{key:<9} {made[key]}")


def _require_id(text: str, where: str) -> None:
    if not is_id(text):
        raise typer.BadParameter(f"{text!r} is not an id ({ID_PATTERN})", param_hint=where)


def _role(text: str) -> Role:
    try:
        return parse_role(text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--role") from None
