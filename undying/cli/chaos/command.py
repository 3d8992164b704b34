"""`undying chaos`: breaks servers of its own, part by part, and prints what their clients felt.

stdout gets the table (one JSON document with `--json`), stderr the progress. A fault never meets the bounds that are there for
real trouble: what the faults of one server may be is planned (`chaos.plan`), the rest fall on further servers. Exit codes: 0
when nothing was lost, repeated or out of order and the server recovered each time; 1 when not; 2 for cells that do not exist;
130 after Ctrl-C or SIGTERM. No process is left behind.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from undying.cli.chaos import report
from undying.cli.chaos.matrix import Cell, Result, choose, document
from undying.cli.chaos.plan import Scene, plan
from undying.cli.chaos.server import command
from undying.cli.chaos.stage import Stage
from undying.cli.own_server import OwnServer, serving

PLAIN_WIDTH: Final = 120
"""Columns of what goes to a file or a pipe, which say nothing about theirs."""

INTERRUPTED: Final = 130


def chaos(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CELL", help="Cells to run, target:fault:load; `*` stands for anything. [all]"),
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=1_000, help="Faults of each cell.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Put the tables into a document as well.", dir_okay=False),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Add the servers' logs to a file.", dir_okay=False)
    ] = None,
) -> None:
    """Break servers of its own: every part, in every way, idle and under load; say what their clients felt."""
    try:
        cells = choose(only or [])
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--only") from None
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends the command ends its server first
    try:
        results = _run(cells, repeat, log)
    except KeyboardInterrupt:
        _tell("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if markdown is not None:
        report.put_into(markdown, report.markdown(results))
    if as_json:
        print(json.dumps(document(results)))
    else:
        Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(report.drawn(results))
    raise typer.Exit(0 if all(result.clean for result in results) else 1)


def _run(cells: Sequence[Cell], repeat: int, log: Path | None) -> list[Result]:
    results = {cell: Result(cell) for cell in cells}
    waiting = plan(cells, repeat)
    while waiting:
        scenes = waiting.pop(0)
        _tell(f"starting a server of its own for {len(scenes)} of {len(scenes) + sum(map(len, waiting))} scenes")
        with serving(command, log) as server:
            left = asyncio.run(_perform(scenes, server, results))
            _tell("ending the server")
        if left:
            waiting.insert(0, left)  # what did not recover is not asked to bear more
    return list(results.values())


async def _perform(scenes: Sequence[Scene], server: OwnServer, results: dict[Cell, Result]) -> list[Scene]:
    """Perform scenes until the server does not recover; returns those that are left."""
    for number, scene in enumerate(scenes, 1):
        outcome = await Stage(scene, server, _tell).perform()
        results[scene.cell].outcomes.append(outcome)
        if outcome.broken:
            _tell(f"did not recover: {outcome.broken}")
            return list(scenes[number:])
    return []


def _tell(line: str) -> None:
    print(f"chaos: {line}", file=sys.stderr, flush=True)
