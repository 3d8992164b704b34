"""`undying new`, `undying invite`, `undying status`: what people ask of a running server.

With `--json` exactly one document goes to stdout. What fails is said on stderr, exit code 1; a wrong command line is 2.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from undying.cli import endings, tree
from undying.cli.management import Management
from undying.cli.watch import ANSWER_S, watch
from undying.protocol.data import JsonObject
from undying.protocol.ids import ID_PATTERN, Role, is_id, parse_role

HISTORY: Final = 20
"""Endings that `status --history` shows when it is not told how many."""

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
    count: Annotated[
        int | None, typer.Argument(metavar="[N]", min=1, max=1000, help=f"With --history: how many, {HISTORY} by default.")
    ] = None,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    keep_looking: Annotated[bool, typer.Option("--watch", help="Keep looking until Ctrl-C.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show what ended last, and what was decided.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is alive in the server, and under whom; or what ended in it."""
    if keep_looking and as_json:
        raise typer.BadParameter("--watch keeps printing and --json prints one document: choose one")
    if keep_looking and history:
        raise typer.BadParameter("--watch shows what ended below the tree: leave --history out")
    if count is not None and not history:
        raise typer.BadParameter("a number goes with --history", param_hint="N")
    server = find(url, data_dir)
    if keep_looking:
        watch(replace(server, timeout_s=ANSWER_S))
    elif history:
        _show_history(server, count or HISTORY, as_json)
    elif as_json:
        print(json.dumps(server.status()))
    else:
        now = server.status()
        Console().print(tree.table(now), *(escape(way) for way in tree.ways_out(now)), sep="\n")


def _show_history(server: Management, count: int, as_json: bool) -> None:
    told = server.endings(count)
    if as_json:
        print(json.dumps({**server.status(), "history": told["history"]}))
        return
    rows = [row for row in told["history"] if isinstance(row, dict)] if isinstance(told["history"], list) else []
    if not rows:
        print("nothing ended so far")
        return
    Console().print(endings.table(rows, time.time_ns() // 1_000_000))
    if told.get("lost"):
        print(f"{told['lost']} more were dropped on the way to the tracker")


def find(url: str | None, data_dir: Path) -> Management:
    """Find the server. The token has a variable and no option, which would show in the list of processes."""
    return Management.find(url, data_dir, os.environ.get(TOKEN_VARIABLE))


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
