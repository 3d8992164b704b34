"""`undying drain`: replaces all hosts, spares and gateways of a node, one after the other, while people play.

On a server of one node that is a rolling restart: tables move to fresh processes with their states saved, clients of a gateway
are told to come back. Supervisors are left alone; killed, they come back by themselves.
"""

from __future__ import annotations

import json
import time
from typing import Annotated, Final

import typer

from undying.cli.manage import DEFAULT_DATA_DIR, AsJson, DataDirectory, Url, find
from undying.cli.management import Management
from undying.protocol.errors import Code, UndyingError, error
from undying.protocol.ids import is_id

KINDS: Final = ("session", "character", "provider", "gateway", "spare")
WAIT_S: Final = 600.0
LOOK_S: Final = 0.2


def drain(
    node: Annotated[str, typer.Argument(help="A node as `undying status` names it.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until none of its processes is left.")] = True,
    url: Url = None,
    data_dir: DataDirectory = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Move everything off a node's processes and end them; tables play on."""
    if not is_id(node):
        raise typer.BadParameter(f"{node!r} is not a node's name", param_hint="NODE")
    server = find(url, data_dir)
    before = pids_on(server, node)
    begun_s = time.monotonic()
    report = server.drain(node)
    if wait:
        wait_until_replaced(server, node, before)
        report["took_s"] = round(time.monotonic() - begun_s, 3)
    if as_json:
        print(json.dumps(report))
    else:
        done = f"replaced in {report['took_s']} s" if wait else "are being replaced"
        print(f"{report['hosts']} hosts and {report['gateways']} gateways of {node} {done}")


def pids_on(server: Management, node: str) -> set[int]:
    """Return the processes of a node that a drain replaces. Raises UndyingError."""
    actors = server.status().get("actors")
    rows = [row for row in actors if isinstance(row, dict)] if isinstance(actors, list) else []
    there = [row.get("pid") for row in rows if row.get("node") == node and row.get("kind") in KINDS]
    return {pid for pid in there if isinstance(pid, int)}


def wait_until_replaced(server: Management, node: str, before: set[int]) -> None:
    """Wait until none of the processes is left. Raises UndyingError UNAVAILABLE when that takes longer than WAIT_S."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        try:
            if not before & pids_on(server, node):
                return
        except UndyingError as problem:
            if problem.failure.code is not Code.UNAVAILABLE:  # the gateway that we ask may be the one that is replaced
                raise
        time.sleep(LOOK_S)
    raise error(Code.UNAVAILABLE, f"some processes of {node} are still there after {WAIT_S:.0f} s", node=node)
