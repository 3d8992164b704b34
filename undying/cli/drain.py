"""`undying drain` and `undying restart`: processes end in order while people play.

Drain empties a node that is to be shut down: its tables move to other nodes with their states saved, clients of its gateways
are told to come back, and nothing new comes there until it is used again: by `--undo`, or when the hosts supervisor was
started again, which does not know of it any more. Shut the node down once it is empty. Restart replaces every process of a
server by a fresh one, the supervisors and the root too; each gateway's successor listens before it ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from undying.cli.manage import DEFAULT_DATA_DIR, AsJson, DataDirectory, Url, find
from undying.cli.management import Management
from undying.protocol.data import JsonObject
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import is_id

STAY: Final = ("root", "supervisor", "tracker")
"""Kinds that a drain leaves where they are."""
WAIT_S: Final = 600.0
LOOK_S: Final = 0.2

Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until none of the processes is left.")]


def drain(
    node: Annotated[str, typer.Argument(help="A node as `undying status` names it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Use the node again.")] = False,
    wait: Wait = True,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Move everything off a node that is to be shut down; tables play on elsewhere."""
    if not is_id(node):
        raise typer.BadParameter(f"{node!r} is not a node's name", param_hint="NODE")
    server = find(url, data_dir)
    if undo:
        used = server.undrain(node)
        print(json.dumps(used) if as_json else f"{node} is used again")
        return
    begun_s = time.monotonic()
    report = server.drain(node)
    if wait:
        wait_until(server, lambda rows: all(row.get("node") != node or row.get("kind") in STAY for row in rows))
        report["took_s"] = round(time.monotonic() - begun_s, 3)
    if as_json:
        print(json.dumps(report))
    else:
        done = f"gone after {report['took_s']} s" if wait else "are being ended"
        print(f"{report['hosts']} hosts and {report['gateways']} gateways of {node} {done}")


def restart(
    wait: Wait = True,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Replace every process of a server, one after the other; tables play on."""
    server = find(url, data_dir)
    begun_s = time.monotonic()
    before = processes(rows_of(server))
    server.restart()
    report: JsonObject = {"processes": len(before)}
    if wait:
        wait_until(server, lambda rows: not before & processes(rows))
        report["took_s"] = round(time.monotonic() - begun_s, 3)
    if as_json:
        print(json.dumps(report))
    else:
        print(f"{len(before)} processes {'replaced in ' + str(report['took_s']) + ' s' if wait else 'are being replaced'}")


def rows_of(server: Management) -> list[JsonObject]:
    """Return the rows of a server's status. Raises UndyingError."""
    actors = server.status().get("actors")
    return [row for row in actors if isinstance(row, dict)] if isinstance(actors, list) else []


def processes(rows: Sequence[JsonObject]) -> set[tuple[object, object]]:
    """Return the processes behind rows: node and pid each."""
    return {(row.get("node"), row["pid"]) for row in rows if isinstance(row.get("pid"), int)}


def wait_until(server: Management, done: Callable[[Sequence[JsonObject]], bool]) -> None:
    """Wait until the rows of the status are as they should be.

    Raises UndyingError UNAVAILABLE when that takes longer than WAIT_S.
    """
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        try:
            rows = rows_of(server)
            if rows and done(rows):
                return
        except UndyingError as problem:
            if problem.failure.code is not Code.UNAVAILABLE:  # who is asked may be the one that is replaced
                raise
        time.sleep(LOOK_S)
    raise error(Code.UNAVAILABLE, f"some of the processes are still there after {WAIT_S:.0f} s")
