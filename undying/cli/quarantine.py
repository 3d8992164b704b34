"""`undying quarantine`: entities that failed too often, why, and the way out.

An entity is quarantined when it ended its processes too often in a short time, and failed when its data can't be read. Both are
left alone until a person has them tried again; nothing of them is lost meanwhile.
"""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from undying.cli.manage import DEFAULT_DATA_DIR, AsJson, DataDirectory, Url, find
from undying.cli.management import Management
from undying.protocol.data import JsonObject
from undying.protocol.ids import STREAM_PATTERN, is_stream

STATES: Final = ("quarantined", "failed")
SHOWN_MAX: Final = 5
"""Endings of an entity that a person is shown; `--json` has all that are kept."""

quarantine = typer.Typer(help="Entities that failed too often: which, why, and try them again.", no_args_is_help=True)

Actor = Annotated[str, typer.Argument(help="An actor as `undying status` names it, session:ID or character:ID.")]


@quarantine.command("list")
def show(url: Url = None, data_dir: DataDirectory = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List what is in quarantine, with why and with how it ended before that."""
    server = find(url, data_dir)
    rows = [{**row, **server.history(str(row["id"]))} for row in _in_quarantine(server)]
    if as_json:
        print(json.dumps({"actors": rows}))
    elif not rows:
        print("nothing is in quarantine")
    else:
        Console().print(_table(rows))


@quarantine.command()
def release(actor: Actor, url: Url = None, data_dir: DataDirectory = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Have an entity tried again, in a process of its own. What it did before does not count any more."""
    if not is_stream(actor):
        raise typer.BadParameter(f"{actor!r} is not an actor's name ({STREAM_PATTERN})", param_hint="ACTOR")
    released = find(url, data_dir).readmit(actor)
    print(json.dumps(released) if as_json else f"{actor} is tried again; `undying status` shows how it does")


def _in_quarantine(server: Management) -> list[JsonObject]:
    actors = server.status().get("actors")
    rows = [row for row in actors if isinstance(row, dict)] if isinstance(actors, list) else []
    return [row for row in rows if row.get("state") in STATES]


def _table(rows: list[JsonObject]) -> Table:
    drawn = Table("actor", "state", "why", "before that", "way out", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        history = row.get("history")
        endings = [each for each in history if isinstance(each, dict)] if isinstance(history, list) else []
        before = "\n".join(f"{each.get('reason')}: {each.get('detail')}" for each in endings[:SHOWN_MAX])
        shown = (row.get("id"), row.get("state"), row.get("reason", ""), before, row.get("way_out", ""))
        drawn.add_row(*(escape(str(part)) for part in shown))
    return drawn
