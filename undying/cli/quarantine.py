"""`undying quarantine`: entities that failed too often, why, and the ways out.

An entity is quarantined when it ended its processes too often in a short time, and failed when its data can't be read. Both are
left alone until a person has them tried again, or set back to an earlier state; nothing of them is lost meanwhile.

A rollback loses what happened since, for those who play: so it says how much that is and asks. In the journal it stays until
that is trimmed. Clients get the state as it is then. An op in what was lost is done anew if its client asks it once more.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from undying.cli.manage import DEFAULT_DATA_DIR, AsJson, DataDirectory, Url, find
from undying.cli.management import Management
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, error
from undying.protocol.ids import STREAM_PATTERN, is_stream
from undying.protocol.position import Position, parse_position

STATES: Final = ("quarantined", "failed")
SHOWN_MAX: Final = 5
"""Endings of an entity that a person is shown; `--json` has all that are kept."""

quarantine = typer.Typer(
    help="Entities that failed too often: which, why, try them again, or set them back.", no_args_is_help=True
)

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
    _require_stream(actor)
    released = find(url, data_dir).readmit(actor)
    print(json.dumps(released) if as_json else f"{actor} is tried again; `undying status` shows how it does")


@quarantine.command()
def rollback(
    actor: Actor,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="E.N", help="A checkpoint, or any position at which an entry ends; else the newest."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Set an entity in quarantine back to a checkpoint. What happened since is lost to those who play."""
    _require_stream(actor)
    wanted = None if to is None else _position(to)
    server = find(url, data_dir)
    if not any(row.get("id") == actor for row in _in_quarantine(server)):
        raise error(Code.WRONG_STATE, f"{actor} is not in quarantine: only what is left alone can be set back", stream=actor)
    choices = _choices(server.checkpoints(actor))
    place = wanted or _newest(actor, choices)
    if not yes and not as_json:
        Console().print(_choice_table(choices, place))
        typer.confirm(f"Set {actor} back to {_dotted(place)}? {_loss(choices, place)}", abort=True, err=True)
    done = server.roll_back(actor, place)
    if as_json:
        print(json.dumps(done))
    else:
        dropped = done.get("dropped")
        print(
            f"{actor} is as it was at {_dotted(place)}; {'what came after' if dropped is None else f'{dropped} events'} dropped"
        )


def _require_stream(actor: str) -> None:
    if not is_stream(actor):
        raise typer.BadParameter(f"{actor!r} is not an actor's name ({STREAM_PATTERN})", param_hint="ACTOR")


def _position(text: str) -> Position:
    parts = re.fullmatch(r"([0-9]{1,15})[.-]([0-9]{1,15})", text)
    position = None if parts is None else parse_position([int(part) for part in parts.groups()])
    if position is None:
        raise typer.BadParameter(f"{text!r} is not a position, epoch.number", param_hint="--to")
    return position


def _choices(told: JsonObject) -> dict[Position, JsonObject]:
    rows = told.get("checkpoints")
    known = [(parse_position(row.get("pos")), row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {position: row for position, row in known if position is not None}


def _newest(actor: str, choices: dict[Position, JsonObject]) -> Position:
    """Return the newest checkpoint that is whole and has events behind it: to go back to another one would change nothing."""
    for position, row in sorted(choices.items(), reverse=True):
        if row.get("at") is not None and row.get("on_line") is True and row.get("dropped") != 0:
            return position
    if not choices:
        reason = f"there is no checkpoint of {actor} yet"
    elif all(row.get("at") is None for row in choices.values()):
        reason = f"every checkpoint of {actor} is broken"
    else:
        reason = f"nothing has happened since the newest checkpoint of {actor}; name an older one with --to"
    raise error(Code.NOT_FOUND, f"{reason}: there is nothing to set it back to", stream=actor)


def _loss(choices: dict[Position, JsonObject], place: Position) -> str:
    row = choices.get(place)
    return "What came after is dropped." if row is None else f"The {row.get('dropped')} events since {_when(row)} are dropped."


def _choice_table(choices: dict[Position, JsonObject], place: Position) -> Table:
    drawn = Table("checkpoint", "taken", "events since", "", box=None, header_style="bold", pad_edge=False)
    for position, row in sorted(choices.items(), reverse=True):
        note = "broken" if row.get("at") is None else "" if row.get("on_line") is True else "left by an earlier rollback"
        chosen = "◀" if position == place else ""
        drawn.add_row(_dotted(position), _when(row), str(row.get("dropped")), f"{note} {chosen}".strip())
    return drawn


def _when(row: JsonObject) -> str:
    at = row.get("at")
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, int) else "an unknown time"


def _dotted(position: Position) -> str:
    return f"{position.epoch}.{position.seq}"


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
